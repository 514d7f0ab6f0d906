package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"
)

// How long anything may take before it is called missing. A working broker on a busy machine never takes this long.
const patience = 20 * time.Second

var (
	version = stomp.Version(environment("STOMP_VERSION", "1.2"))
	address = environment("STOMP_TCP", "127.0.0.1:61613")
	input   = bufio.NewReader(os.Stdin)
	count   int
	open    []net.Conn
)

func environment(name, otherwise string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return otherwise
}

// A destination that nobody else uses.
func fresh(prefix string) string {
	count++
	return fmt.Sprintf("%s/%d-%d-%d", prefix, os.Getpid(), time.Now().Unix(), count)
}

// What went wrong; `report` catches it, so that features read from top to bottom.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func assert(holds bool, seen ...any) {
	if !holds {
		panic(errors.New("unexpected: " + fmt.Sprint(seen...)))
	}
}

func equal[T comparable](seen, expected T) {
	assert(seen == expected, fmt.Sprintf("%.80q instead of %.80q", fmt.Sprint(seen), fmt.Sprint(expected)))
}

// What the library would log it also returns.
type silent struct{}

func (silent) Debugf(string, ...interface{})   {}
func (silent) Infof(string, ...interface{})    {}
func (silent) Warningf(string, ...interface{}) {}
func (silent) Errorf(string, ...interface{})   {}
func (silent) Debug(string)                    {}
func (silent) Info(string)                     {}
func (silent) Warning(string)                  {}
func (silent) Error(string)                    {}

// A connection to the broker, and the library's on top of it.
func dial(options ...func(*stomp.Conn) error) (net.Conn, *stomp.Conn) {
	socket, err := net.Dial("tcp", address)
	must(err)
	open = append(open, socket)
	all := append([]func(*stomp.Conn) error{
		stomp.ConnOpt.AcceptVersion(version),
		stomp.ConnOpt.HeartBeat(0, 0),
		stomp.ConnOpt.Logger(silent{}),
		stomp.ConnOpt.MsgSendTimeout(patience),
		stomp.ConnOpt.RcvReceiptTimeout(patience),
	}, options...)
	if login, ok := os.LookupEnv("STOMP_LOGIN"); ok {
		all = append(all, stomp.ConnOpt.Login(login, os.Getenv("STOMP_PASSCODE")))
	}
	made, err := stomp.Connect(socket, all...)
	must(err)
	return socket, made
}

func connect(options ...func(*stomp.Conn) error) *stomp.Conn {
	_, made := dial(options...)
	return made
}

// Sends, and waits until the broker has routed the message.
func send(made *stomp.Conn, destination, body string, options ...func(*frame.Frame) error) {
	must(made.Send(destination, "text/plain", []byte(body), append(options, stomp.SendOpt.Receipt)...))
}

// A live subscription: the library waits for no receipt of SUBSCRIBE, so that of a message sent later tells.
func subscribe(
	made *stomp.Conn, destination string, ack stomp.AckMode, options ...func(*frame.Frame) error,
) *stomp.Subscription {
	subscription, err := made.Subscribe(destination, ack, options...)
	must(err)
	settled(made)
	return subscription
}

// Waits until the broker has done all that it was told before.
func settled(made *stomp.Conn) {
	send(made, fresh("/topic"), "nobody hears it")
}

func next(subscription *stomp.Subscription) *stomp.Message {
	select {
	case message, ok := <-subscription.C:
		assert(ok, "the end of the subscription")
		must(message.Err)
		return message
	case <-time.After(patience):
		panic(errors.New("no MESSAGE on " + subscription.Destination()))
	}
}

// Waits until the library tells a subscription that its connection is gone.
func ended(subscription *stomp.Subscription) {
	select {
	case message, ok := <-subscription.C:
		assert(!ok || message.Err != nil, "a message from nowhere")
	case <-time.After(patience):
		panic(errors.New("still open"))
	}
}

func bodies(subscription *stomp.Subscription, number int) string {
	var all []string
	for len(all) < number {
		all = append(all, string(next(subscription).Body))
	}
	return strings.Join(all, " ")
}

// Asks whoever runs this to stop the broker and start it again where it was.
func restartBroker() {
	fmt.Println("@restart")
	_, err := input.ReadString('\n')
	must(err)
}

type feature struct {
	name string
	// Nothing where the version or the library does not have it.
	run func()
}

// Tries one feature after the other, says how each went, and ends the process.
func report(features []feature) {
	failures := 0
	for _, feature := range features {
		if feature.run == nil {
			fmt.Println("- " + feature.name)
			continue
		}
		if err := try(feature.run); err != nil {
			failures++
			fmt.Printf("failed %s: %s\n", feature.name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok " + feature.name)
		}
		for _, socket := range open {
			socket.Close()
		}
		open = nil
	}
	if failures > 0 {
		os.Exit(1)
	}
}

func try(run func()) (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("%v", caught)
		}
	}()
	run()
	return nil
}
