// An extension as one writes it in Go: net/http's default client, encoding/json, and a line on stderr for what it waits for
// and what it gets, as published samples have it. Registers, loops, ends at SHUTDOWN.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// quiet is set by the linker (-X main.quiet=yes) for the variant that writes no lines.
var quiet string

const registration = `{"events":["INVOKE","SHUTDOWN"]}`

// Event is what `next` answers, as far as an extension uses it.
type Event struct {
	EventType          string `json:"eventType"`
	DeadlineMs         int64  `json:"deadlineMs"`
	RequestID          string `json:"requestId"`
	InvokedFunctionArn string `json:"invokedFunctionArn"`
	ShutdownReason     string `json:"shutdownReason"`
}

// call sends a request and returns the answer's header and body; whatever is no 200 is an error.
func call(request *http.Request) (http.Header, []byte, error) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", request.URL, response.Status)
	}
	return response.Header, body, err
}

func register(base, name string) (string, error) {
	request, err := http.NewRequest(http.MethodPost, base+"/register", strings.NewReader(registration))
	if err != nil {
		return "", err
	}
	request.Header.Set("Lambda-Extension-Name", name)
	header, _, err := call(request)
	return header.Get("Lambda-Extension-Identifier"), err
}

func next(base, identifier string) (Event, error) {
	var event Event
	request, err := http.NewRequest(http.MethodGet, base+"/event/next", nil)
	if err != nil {
		return event, err
	}
	request.Header.Set("Lambda-Extension-Identifier", identifier)
	_, body, err := call(request)
	if err != nil {
		return event, err
	}
	return event, json.Unmarshal(body, &event)
}

// show writes the event as a person would want to read it.
func show(event Event) {
	if text, err := json.MarshalIndent(event, "", "  "); err == nil {
		log.Printf("event: %s", text)
	}
}

func main() {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2020-01-01/extension"
	identifier, err := register(base, filepath.Base(os.Args[0]))
	for err == nil {
		if quiet == "" {
			log.Print("waiting for an event")
		}
		var event Event
		if event, err = next(base, identifier); err == nil && quiet == "" {
			show(event)
		}
		if event.EventType == "SHUTDOWN" {
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(3)
}
