#!/bin/sh
# An extension in sh and curl, as people write them.
base="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
headers=$(mktemp)
curl -sS -D "$headers" -o /dev/null -X POST "$base/register" \
  -H "Lambda-Extension-Name: $(basename "$0")" -d '{"events": ["INVOKE", "SHUTDOWN"]}'
id=$(tr -d '\r' <"$headers" | awk 'tolower($1) == "lambda-extension-identifier:" {print $2}')
rm -f "$headers"
while event=$(curl -sS "$base/event/next" -H "Lambda-Extension-Identifier: $id"); do
  case $event in
    *SHUTDOWN*) echo SHUTDOWN; exit 0 ;;
    *INVOKE*) echo INVOKE ;;
    *) exit 1 ;;
  esac
done
