// What a program does with go-stomp, feature by feature, against the broker at STOMP_TCP in STOMP_VERSION.
//
// Speaks to whoever started it: a line `ok`, `failed` or `-` (not in this version, or not in this library) for each feature
// on stdout; `@restart` asks for a restart of the broker, and a line on stdin tells that it is there again.
package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-stomp/stomp/v3"
)

var large = strings.Repeat("0123456789abcdef", 65_536)

func main() {
	report([]feature{
		{"connect", func() { equal(connect().Version(), version) }},
		{"send, subscribe", sendAndSubscribe},
		{"unsubscribe", unsubscribe},
		{"patterns", patterns},
		{"receipts", func() { settled(connect()) }},
		{"heart-beats", later(heartBeats)},
		{"ack individual", func() { acknowledge(stomp.AckClientIndividual, "one three") }},
		{"ack cumulative", func() { acknowledge(stomp.AckClient, "three") }},
		{"ack lost", ackLost},
		{"ack in a transaction", ackInATransaction},
		{"nack", later(nack)},
		{"commit, abort", transactions},
		{"large message", func() { bounce("text/plain", large) }},
		{"split frames", nil},
		{"binary body", binaryBody},
		{"unicode", unicode},
		{"header escapes", later(headerEscapes)},
		{"error, close", errorAndClose},
		// The library closes the connection at any ERROR.
		{"on-error:continue", nil},
		{"disconnect", func() { must(connect().Disconnect()) }},
		{"reconnect", reconnect},
	})
}

func later(run func()) func() {
	if version == stomp.V10 {
		return nil
	}
	return run
}

func sendAndSubscribe() {
	destination := fresh("/topic")
	publisher := connect()
	subscriptions := []*stomp.Subscription{
		subscribe(connect(), destination, stomp.AckAuto),
		subscribe(connect(), destination, stomp.AckAuto),
	}
	for number := 0; number < 100; number++ {
		text := fmt.Sprint(number)
		must(publisher.Send(destination, "text/plain", []byte(text), stomp.SendOpt.Header("number", text)))
	}
	for _, subscription := range subscriptions {
		for number := 0; number < 100; number++ {
			message := next(subscription)
			equal(string(message.Body), fmt.Sprint(number))
			equal(message.Header.Get("number"), fmt.Sprint(number))
			equal(message.Destination, destination)
			equal(message.ContentType, "text/plain")
		}
	}
}

func unsubscribe() {
	destination := fresh("/topic")
	made := connect()
	ended, live := subscribe(made, destination, stomp.AckAuto), subscribe(made, destination, stomp.AckAuto)
	must(ended.Unsubscribe())
	send(made, destination, "one")
	equal(bodies(live, 1), "one")
	assert(!ended.Active(), "still active")
}

func patterns() {
	base := fresh("/topic")
	made := connect()
	star, deep := subscribe(made, base+"/*/price", stomp.AckAuto), subscribe(made, base+"/**", stomp.AckAuto)
	send(made, base+"/tea/price", "3")
	send(made, base+"/tea/stock/north", "9")
	equal(next(star).Destination, base+"/tea/price")
	equal(bodies(deep, 2), "3 9")
	equal(len(star.C), 0)
}

// The library gives the broker up after the interval, and the broker gives it up after three: five are enough to see.
func heartBeats() {
	made := connect(
		stomp.ConnOpt.HeartBeat(300*time.Millisecond, 300*time.Millisecond),
		stomp.ConnOpt.HeartBeatError(200*time.Millisecond),
		stomp.ConnOpt.HeartBeatGracePeriodMultiplier(2),
	)
	time.Sleep(1500 * time.Millisecond)
	settled(made)
}

// A queue with three messages, all of them given to one reader that has settled none.
func three(ack stomp.AckMode) (made, reader *stomp.Conn, destination string, messages []*stomp.Message) {
	destination = fresh("/queue")
	made, reader = connect(), connect()
	for _, body := range []string{"one", "two", "three"} {
		send(made, destination, body)
	}
	subscription := subscribe(reader, destination, ack)
	for range "123" {
		messages = append(messages, next(subscription))
	}
	return made, reader, destination, messages
}

func left(made *stomp.Conn, destination, expected string) {
	rest := subscribe(made, destination, stomp.AckAuto)
	first := next(rest)
	equal(first.Header.Get("redelivered"), "true")
	all := string(first.Body)
	if more := strings.Count(expected, " "); more > 0 {
		all += " " + bodies(rest, more)
	}
	equal(all, expected)
}

func acknowledge(mode stomp.AckMode, expected string) {
	made, reader, destination, messages := three(mode)
	must(reader.Ack(messages[1]))
	must(reader.Disconnect())
	left(made, destination, expected)
}

func ackLost() {
	destination := fresh("/queue")
	made := connect()
	send(made, destination, "one")
	socket, reader := dial()
	next(subscribe(reader, destination, stomp.AckClientIndividual))
	must(socket.Close())
	left(made, destination, "one")
}

func ackInATransaction() {
	made, reader, destination, messages := three(stomp.AckClientIndividual)
	given := reader.Begin()
	must(given.Ack(messages[0]))
	must(given.AbortWithReceipt())
	kept := reader.Begin()
	must(kept.Ack(messages[1]))
	must(kept.CommitWithReceipt())
	must(reader.Disconnect())
	left(made, destination, "one three")
}

func nack() {
	destination := fresh("/queue")
	made := connect()
	subscription := subscribe(made, destination, stomp.AckClientIndividual)
	send(made, destination, "one")
	must(made.Nack(next(subscription)))
	again := next(subscription)
	equal(again.Header.Get("redelivered"), "true")
	must(made.Ack(again))
	settled(made)
}

func transactions() {
	destination := fresh("/queue")
	made := connect()
	subscription := subscribe(made, destination, stomp.AckAuto)
	given := made.Begin()
	must(given.Send(destination, "text/plain", []byte("given up")))
	must(given.Abort())
	kept := made.Begin()
	for _, body := range []string{"one", "two"} {
		must(kept.Send(destination, "text/plain", []byte(body)))
	}
	send(made, destination, "outside")
	must(kept.CommitWithReceipt())
	equal(bodies(subscription, 3), "outside one two")
}

func bounce(contentType, body string) {
	destination := fresh("/topic")
	made := connect()
	subscription := subscribe(made, destination, stomp.AckAuto)
	must(made.Send(destination, contentType, []byte(body), stomp.SendOpt.Receipt))
	message := next(subscription)
	equal(message.ContentType, contentType)
	equal(string(message.Body), body)
}

func binaryBody() {
	var body []byte
	for octet := 0; octet < 1024; octet++ {
		body = append(body, byte(octet))
	}
	bounce("application/octet-stream", string(body))
}

func unicode() {
	destination := fresh("/topic") + "-żółw"
	made := connect()
	subscription := subscribe(made, destination, stomp.AckAuto)
	send(made, destination, "Grüße, 世界 👢", stomp.SendOpt.Header("note", "sălut 👢"))
	message := next(subscription)
	equal(string(message.Body), "Grüße, 世界 👢")
	equal(message.Header.Get("note"), "sălut 👢")
	equal(message.Destination, destination)
}

func headerEscapes() {
	destination, note := fresh("/topic"), "colon : backslash \\ line\nend"
	made := connect()
	subscription := subscribe(made, destination, stomp.AckAuto)
	send(made, destination, "", stomp.SendOpt.Header("note", note))
	equal(next(subscription).Header.Get("note"), note)
}

func errorAndClose() {
	made := connect()
	subscription := subscribe(made, fresh("/topic"), stomp.AckAuto)
	err := made.Send("/nowhere/at-all", "text/plain", []byte("lost"), stomp.SendOpt.Receipt)
	var refused stomp.Error
	assert(errors.As(err, &refused) && refused.Frame != nil, err)
	equal(refused.Frame.Header.Get("code"), "unknown-destination")
	assert(refused.Message != "" && len(refused.Frame.Body) > 0, err)
	ended(subscription)
}

func reconnect() {
	made := connect()
	subscription := subscribe(made, fresh("/topic"), stomp.AckAuto)
	restartBroker()
	ended(subscription)
	bounce("text/plain", "after the restart")
}
