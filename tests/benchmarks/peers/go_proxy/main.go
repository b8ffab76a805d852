// A Runtime API proxy as one writes it in Go: httputil.ReverseProxy, which is what published extensions use.
// PROXY_UPSTREAM=HOST:PORT; the port that it listens on is the first line of its output.
package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(3)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: os.Getenv("PROXY_UPSTREAM")})
	proxy.Transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	proxy.FlushInterval = -1
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	if http.Serve(listener, proxy) != nil {
		os.Exit(3)
	}
}
