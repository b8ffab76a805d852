// A secret cache as one would write it in Go: net/http, the token compared in constant time, the query parsed, a map behind a
// lock, an answer that was made when the value arrived. It asks AWS once, before it registers, and never again: a floor for what
// AWS's own extension, which is written in Go too, has to do.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Entry is an answer and when it was fetched.
type Entry struct {
	body    []byte
	fetched time.Time
}

// Cache holds what is known.
type Cache struct {
	lock    sync.RWMutex
	entries map[string]Entry
	token   []byte
}

func (cache *Cache) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	given := []byte(request.Header.Get("X-Aws-Parameters-Secrets-Token"))
	if subtle.ConstantTimeCompare(given, cache.token) != 1 {
		http.Error(writer, "bad session token or header key", http.StatusUnauthorized)
		return
	}
	if request.Header.Get("X-Forwarded-For") != "" || request.Method != http.MethodGet {
		http.Error(writer, "not allowed", http.StatusBadRequest)
		return
	}
	if strings.TrimSuffix(request.URL.Path, "/") != "/secretsmanager/get" {
		http.NotFound(writer, request)
		return
	}
	cache.lock.RLock()
	entry, found := cache.entries[request.URL.Query().Get("secretId")]
	cache.lock.RUnlock()
	if !found || time.Since(entry.fetched) > 300*time.Second {
		http.Error(writer, "an unexpected error occurred while executing request", http.StatusBadRequest)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	writer.Header().Set("Content-Length", fmt.Sprint(len(entry.body)))
	writer.Write(entry.body)
}

func mac(key []byte, text string) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(text))
	return hash.Sum(nil)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// fetch asks Secrets Manager for a secret, signed with version 4, and makes the answer to a hit of what comes.
func fetch(id string) []byte {
	base, region, token := os.Getenv("EXTENSION_KIT_AWS_ENDPOINT_URL"), os.Getenv("AWS_REGION"), os.Getenv("AWS_SESSION_TOKEN")
	body := fmt.Sprintf(`{"SecretId":%q}`, id)
	now := time.Now().UTC()
	stamp, day := now.Format("20060102T150405Z"), now.Format("20060102")
	host := strings.TrimPrefix(base, "http://")
	names := "host;x-amz-date;x-amz-security-token;x-amz-target"
	canonical := "POST\n/\n\nhost:" + host + "\nx-amz-date:" + stamp + "\nx-amz-security-token:" + token +
		"\nx-amz-target:secretsmanager.GetSecretValue\n\n" + names + "\n" + digest(body)
	scope := day + "/" + region + "/secretsmanager/aws4_request"
	key := []byte("AWS4" + os.Getenv("AWS_SECRET_ACCESS_KEY"))
	for _, part := range []string{day, region, "secretsmanager", "aws4_request"} {
		key = mac(key, part)
	}
	signature := hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+digest(canonical)))
	request, err := http.NewRequest("POST", base+"/", strings.NewReader(body))
	must(err)
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
	request.Header.Set("X-Amz-Date", stamp)
	request.Header.Set("X-Amz-Security-Token", token)
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+os.Getenv("AWS_ACCESS_KEY_ID")+"/"+scope+
		", SignedHeaders="+names+", Signature="+signature)
	answer, err := http.DefaultClient.Do(request)
	must(err)
	defer answer.Body.Close()
	var secret map[string]interface{}
	must(json.NewDecoder(answer.Body).Decode(&secret))
	secret["CreatedDate"] = time.Now().UTC()
	secret["ResultMetadata"] = struct{}{}
	made, err := json.Marshal(secret)
	must(err)
	return made
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	cache := &Cache{entries: map[string]Entry{}, token: []byte(os.Getenv("AWS_SESSION_TOKEN"))}
	cache.entries["bench"] = Entry{fetch("bench"), time.Now()}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"))
	must(err)
	go http.Serve(listener, cache)

	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2020-01-01/extension"
	register, err := http.NewRequest("POST", base+"/register", strings.NewReader(`{"events":["INVOKE","SHUTDOWN"]}`))
	must(err)
	register.Header.Set("Lambda-Extension-Name", filepath.Base(os.Args[0]))
	answer, err := http.DefaultClient.Do(register)
	must(err)
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	identifier := answer.Header.Get("Lambda-Extension-Identifier")
	for {
		next, err := http.NewRequest("GET", base+"/event/next", nil)
		must(err)
		next.Header.Set("Lambda-Extension-Identifier", identifier)
		answer, err := http.DefaultClient.Do(next)
		must(err)
		event, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if strings.Contains(string(event), `"SHUTDOWN"`) {
			return
		}
	}
}
