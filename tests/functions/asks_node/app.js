// The same as tests/functions/asks_sh, in the language of another runtime.
'use strict';
const http = require('http');

const ask = (path) => new Promise((resolve, reject) => {
  const headers = { 'X-Aws-Parameters-Secrets-Token': process.env.AWS_SESSION_TOKEN };
  http.get({ host: 'localhost', port: 2773, path, headers }, (answer) => {
    const parts = [];
    answer.on('data', (part) => parts.push(part));
    answer.on('end', () => resolve(JSON.parse(Buffer.concat(parts))));
  }).on('error', reject);
});

exports.handler = async (event) => {
  process.stdout.write(`line ${event.n} 0\nline ${event.n} 1\n`);
  const secret = await ask('/secretsmanager/get?secretId=db');
  const parameter = await ask('/systemsmanager/parameters/get?name=/app/limit');
  return {
    ...event, secret: secret.SecretString, parameter: parameter.Parameter.Value, from_cache: process.env.FROM_CACHE,
  };
};
