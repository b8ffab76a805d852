#!/bin/sh
# Starts the runtime for one handler: inside Lambda (or whatever sets AWS_LAMBDA_RUNTIME_API) by itself, elsewhere under
# AWS's Runtime Interface Emulator.
if [ $# -ne 1 ]; then
  echo "entrypoint requires the handler name to be the first argument" >&2
  exit 142
fi
export _HANDLER="$1"
if [ -n "$AWS_LAMBDA_RUNTIME_API" ]; then
  exec /var/runtime/bootstrap
fi
exec /usr/local/bin/aws-lambda-rie /var/runtime/bootstrap
