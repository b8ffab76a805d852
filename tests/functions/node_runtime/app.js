// The same as tests/functions/chaos/app.py, in the language of another runtime.
'use strict';
const fs = require('fs');
const http = require('http');

const fetched = (url) => new Promise((resolve, reject) => {
  http.get(url, (answer) => { answer.resume(); answer.on('end', () => resolve({ status: answer.statusCode })); })
    .on('error', reject);
});

let invocations = 0;

exports.handler = async (event, context) => {
  invocations += 1;
  if (event.spend_ms) await new Promise((resolve) => setTimeout(resolve, event.spend_ms));
  if (event.fail) throw new Error(event.fail);
  const answer = {
    invocations, event, remaining_ms: context.deadlineMs - Date.now(), pid: process.pid,
    proxies: Object.fromEntries(Object.entries(process.env).filter(([name]) => /proxy$/i.test(name))),
    api: process.env.AWS_LAMBDA_RUNTIME_API,
  };
  if (event.look === 'tmp') {
    const found = fs.statfsSync ? fs.statfsSync('/tmp') : null;
    answer.tmp_free = found && found.bavail * found.bsize;
  }
  if (event.fetch) answer.fetch = await fetched(event.fetch);
  return event.http ? { statusCode: 200, headers: { 'x-from': 'app' }, body: event.http } : answer;
};
