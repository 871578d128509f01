// Answers 200 to whoever asks: the least that an authoriser for nginx's auth_request can be.
package main

import (
	"net/http"
	"os"
)

func main() {
	yes := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	if err := http.ListenAndServe(os.Args[1], yes); err != nil {
		panic(err)
	}
}
