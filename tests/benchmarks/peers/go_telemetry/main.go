// A telemetry extension as published samples have it in Go: a net/http listener that decodes every batch with encoding/json
// and queues its events, which go at the next event of the environment; a line on stderr for each batch. Here they go nowhere.
//
// Its queue is counted and reported at the end, so that the benchmark can see that nothing was left out.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// mode is set by the linker (-X main.mode=...). "": the sample's shape. "typed": an event is a struct, its record stays text,
// nothing is logged: what care brings. "decode": keeps function lines only, each encoded again, one to a line.
var mode string

const registration = `{"events":["INVOKE","SHUTDOWN"]}`

const subscription = `{"schemaVersion":"2022-12-13","types":["platform","function"],` +
	`"buffering":{"maxItems":1000,"maxBytes":262144,"timeoutMs":1000},` +
	`"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:%d/"}}`

// Typed is an event of which only the envelope is decoded.
type Typed struct {
	Time   string          `json:"time"`
	Type   string          `json:"type"`
	Record json.RawMessage `json:"record"`
}

// Queue holds what has come and has not been handed on.
type Queue struct {
	lock   sync.Mutex
	events []interface{}
	lines  bytes.Buffer
	kept   int
}

func (queue *Queue) put(event interface{}) {
	queue.lock.Lock()
	queue.events = append(queue.events, event)
	queue.kept++
	queue.lock.Unlock()
}

func (queue *Queue) write(line []byte) {
	queue.lock.Lock()
	queue.lines.Write(line)
	queue.lines.WriteByte('\n')
	queue.kept++
	queue.lock.Unlock()
}

func (queue *Queue) flush() {
	queue.lock.Lock()
	queue.events = nil
	queue.lines.Reset()
	queue.lock.Unlock()
}

func (queue *Queue) take(body []byte) error {
	if mode == "typed" {
		var events []Typed
		if err := json.Unmarshal(body, &events); err != nil {
			return err
		}
		for _, event := range events {
			queue.put(event)
		}
		return nil
	}
	var events []map[string]interface{}
	if err := json.Unmarshal(body, &events); err != nil {
		return err
	}
	for _, event := range events {
		if mode != "decode" {
			queue.put(event)
		} else if event["type"] == "function" {
			line, err := json.Marshal(event)
			if err != nil {
				return err
			}
			queue.write(line)
		}
	}
	if mode == "" {
		log.Printf("[listener] %d events received", len(events))
	}
	return nil
}

func (queue *Queue) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err == nil {
		err = queue.take(body)
	}
	if err != nil {
		log.Print(err)
	}
}

// listen serves on loopback, where the benchmark's platform delivers (in Lambda: sandbox.localdomain); returns the port.
func listen(queue *Queue) (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	go http.Serve(listener, queue)
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// call sends a request and returns the answer's header and body; whatever is no 200 is an error.
func call(method, url, body, field, value string) (http.Header, []byte, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set(field, value)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return response.Header, content, err
}

// run registers, subscribes, and goes from one event to the next.
func run(queue *Queue) error {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API")
	base := api + "/2020-01-01/extension"
	header, _, err := call("POST", base+"/register", registration, "Lambda-Extension-Name", filepath.Base(os.Args[0]))
	if err != nil {
		return err
	}
	identifier := header.Get("Lambda-Extension-Identifier")
	port, err := listen(queue)
	if err != nil {
		return err
	}
	wanted := fmt.Sprintf(subscription, port)
	_, _, err = call("PUT", api+"/2022-07-01/telemetry", wanted, "Lambda-Extension-Identifier", identifier)
	for err == nil {
		var body []byte
		var event struct{ EventType string }
		if _, body, err = call("GET", base+"/event/next", "", "Lambda-Extension-Identifier", identifier); err == nil {
			err = json.Unmarshal(body, &event)
		}
		queue.flush()
		if event.EventType == "SHUTDOWN" {
			return nil
		}
	}
	return err
}

func main() {
	queue := &Queue{}
	if err := run(queue); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Fprintf(os.Stderr, "kept %d\n", queue.kept)
}
