// A front end on Go's net/http: `links PORT LOG DOWNSTREAM...`, each DOWNSTREAM a port of 127.0.0.1. What belongs together is
// written to LOG at the end: `IN-PORT IN-ORDINAL OUT-PORT TO-PORT OUT-ORDINAL`.
package main

import (
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

type book struct {
	lock    sync.Mutex
	in, out map[string]int
	truth   []string
}

func (b *book) count(ports map[string]int, port string) int {
	ordinal := ports[port]
	ports[port] = ordinal + 1
	return ordinal
}

var (
	kept       = &book{in: map[string]int{}, out: map[string]int{}}
	downstream []string
	client     = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
)

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func call(own string, which int, path string) {
	request, _ := http.NewRequest("GET", "http://127.0.0.1:"+downstream[which]+path, nil)
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		port := portOf(info.Conn.LocalAddr().String()) + " " + downstream[which]
		kept.lock.Lock()
		kept.truth = append(kept.truth, fmt.Sprintf("%s %s %d", own, port, kept.count(kept.out, port)))
		kept.lock.Unlock()
	}}
	response, err := client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		return
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
}

func pause() { time.Sleep(time.Duration(2000+rand.Intn(6000)) * time.Microsecond) }

func handle(answer http.ResponseWriter, request *http.Request) {
	port := portOf(request.RemoteAddr)
	kept.lock.Lock()
	own := fmt.Sprintf("%s %d", port, kept.count(kept.in, port))
	kept.lock.Unlock()
	switch strings.Trim(request.URL.Path, "/") {
	case "one":
		call(own, 0, "/a")
	case "sequence":
		call(own, 0, "/a")
		call(own, 1, "/b")
	case "parallel":
		var both sync.WaitGroup
		both.Add(2)
		go func() { call(own, 0, "/a"); both.Done() }()
		go func() { call(own, 1, "/b"); both.Done() }()
		both.Wait()
		call(own, 0, "/c")
	case "cached":
		call(own, 0, "/a")
		if rand.Intn(2) == 0 {
			call(own, 1, "/b")
		}
	case "spread":
		// A goroutine that makes another one, which calls.
		done := make(chan struct{})
		go func() { call(own, 0, "/a"); call(own, 1, "/b"); close(done) }()
		<-done
	case "left":
		call(own, 0, "/a")
		// Nobody waits for it: it is no child of the request.
		go func() { pause(); call("0 0", 1, "/b") }()
	case "timer":
		pause()
		call(own, 0, "/a")
		pause()
		call(own, 1, "/b")
	}
	io.WriteString(answer, "done\n")
}

func main() {
	log := os.Args[2]
	downstream = os.Args[3:]
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(handle))
	<-ended
	kept.lock.Lock()
	os.WriteFile(log, []byte(strings.Join(kept.truth, "\n")+"\n"), 0o644)
}
