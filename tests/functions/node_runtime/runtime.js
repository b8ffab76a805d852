// A runtime in JavaScript, as small as can be: no package is needed. It asks the Runtime API for events and answers them with
// what app.js makes of them; `event.stream` lists the chunks of a response that is streamed (with trailers, as Lambda's own
// runtime sends them), `event.stream_error` ends such a response with an error in its trailers.
'use strict';
const http = require('http');
const path = require('path');

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
const base = '/2018-06-01/runtime/';
const { handler } = require(path.join(__dirname, 'app.js'));

function ask(method, where, headers, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, agent, method, path: base + where, headers }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function stream(id, event) {
  return new Promise((resolve, reject) => {
    const headers = {
      'Content-Type': event.content_type || 'application/octet-stream',
      'Lambda-Runtime-Function-Response-Mode': 'streaming',
      'Transfer-Encoding': 'chunked',
      Trailer: ['Lambda-Runtime-Function-Error-Type', 'Lambda-Runtime-Function-Error-Body'],
    };
    const request = http.request(
      { host, port, method: 'POST', path: `${base}invocation/${id}/response`, headers },
      (answer) => { answer.resume(); answer.on('end', () => resolve({ status: answer.statusCode })); },
    );
    request.on('error', reject);
    (async () => {
      for (const chunk of event.stream) {
        request.write(chunk);
        await wait(event.gap_ms || 0);
      }
      if (event.stream_error) {
        request.addTrailers({
          'Lambda-Runtime-Function-Error-Type': event.stream_error,
          'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify({ errorMessage: 'midway' })).toString('base64'),
        });
      }
      request.end();
    })();
  });
}

async function main() {
  for (;;) {
    const next = await ask('GET', 'invocation/next', {});
    if (next.status !== 200) throw new Error(`next: ${next.status} ${next.body}`); // ends this process, as in Lambda's own
    const id = next.headers['lambda-runtime-aws-request-id'];
    try {
      const event = JSON.parse(next.body);
      const context = { id, deadlineMs: Number(next.headers['lambda-runtime-deadline-ms']) };
      if (event.stream) {
        try { await stream(id, event); } catch (error) { console.log(`stream: ${error.code}`); }
        continue;
      }
      const result = Buffer.from(JSON.stringify(await handler(event, context)));
      await ask('POST', `invocation/${id}/response`, { 'Content-Length': result.length }, result);
    } catch (error) {
      const body = Buffer.from(JSON.stringify({ errorType: error.name, errorMessage: error.message, stackTrace: [] }));
      await ask('POST', `invocation/${id}/error`,
        { 'Content-Length': body.length, 'Lambda-Runtime-Function-Error-Type': error.name }, body);
    }
  }
}

main().catch((error) => { console.error(error); process.exit(1); });
