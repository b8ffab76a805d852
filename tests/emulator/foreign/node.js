#!/usr/bin/env node
// An extension for Node, with its own http module.
const http = require('http');
const path = require('path');
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');

function call(method, where, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, path: '/2020-01-01/extension/' + where, headers }, (answer) => {
      let text = '';
      answer.on('data', (piece) => { text += piece; });
      answer.on('end', () => resolve({ headers: answer.headers, body: text }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

(async () => {
  const name = path.basename(process.argv[1]);
  const registered = await call('POST', 'register', { 'Lambda-Extension-Name': name }, '{"events":["INVOKE","SHUTDOWN"]}');
  const id = registered.headers['lambda-extension-identifier'];
  for (;;) {
    const event = JSON.parse((await call('GET', 'event/next', { 'Lambda-Extension-Identifier': id })).body);
    console.log(event.eventType);
    if (event.eventType === 'SHUTDOWN') process.exit(0);
  }
})();
