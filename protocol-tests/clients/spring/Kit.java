package gumboot;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Type;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompFrameHandler;
import org.springframework.messaging.simp.stomp.StompHeaders;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.messaging.simp.stomp.StompSessionHandlerAdapter;
import org.springframework.util.MimeTypeUtils;

/** What the suites share: things to wait for, and the report, one line for each feature. */
final class Kit {
    /** How long anything may take before it is called missing. */
    static final int PATIENCE_SECONDS = 20;

    private static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));
    private static final Map<String, Feature> FEATURES = new LinkedHashMap<>();

    private Kit() {}

    interface Feature {
        void run() throws Exception;
    }

    /** A message, as it came. */
    record Received(StompHeaders headers, Object payload) {
        String body() {
            return (String) payload;
        }

        byte[] bytes() {
            return (byte[]) payload;
        }
    }

    /** A feature to try, or null where the client does not have it. */
    static void feature(String name, Feature feature) {
        FEATURES.put(name, feature);
    }

    /** Tries one feature after the other and ends the process. */
    static void report() {
        int failures = 0;
        for (Map.Entry<String, Feature> entry : FEATURES.entrySet()) {
            if (entry.getValue() == null) {
                System.out.println("- " + entry.getKey());
                continue;
            }
            try {
                entry.getValue().run();
                System.out.println("ok " + entry.getKey());
            } catch (Exception | AssertionError error) {
                failures += 1;
                System.out.println("failed " + entry.getKey() + ": " + error.toString().replaceAll("\\s+", " "));
            }
        }
        System.exit(failures == 0 ? 0 : 1);
    }

    static String fresh(String prefix) {
        return prefix + "/" + UUID.randomUUID();
    }

    static void check(boolean holds, Object seen) {
        if (!holds) {
            throw new AssertionError("unexpected: " + seen);
        }
    }

    static void equal(Object seen, Object expected) {
        check(expected.equals(seen), seen + " instead of " + expected);
    }

    static <T> T within(CompletableFuture<T> future) throws Exception {
        return future.get(PATIENCE_SECONDS, TimeUnit.SECONDS);
    }

    /** A session as soon as it is connected, which asks for a receipt for all that it sends. */
    static StompSession opened(CompletableFuture<StompSession> starting) throws Exception {
        StompSession session = within(starting);
        session.setAutoReceipt(true);
        return session;
    }

    /** Waits for something that nobody tells of. */
    static void until(String what, BooleanSupplier holds) throws Exception {
        until(what, PATIENCE_SECONDS, holds);
    }

    static void until(String what, int seconds, BooleanSupplier holds) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (!holds.getAsBoolean()) {
            check(System.nanoTime() < deadline, "no " + what);
            Thread.sleep(20);
        }
    }

    /** Asks whoever runs this to stop the broker and start it again where it was. */
    static void restartBroker() throws Exception {
        System.out.println("@restart");
        equal(INPUT.readLine(), "restarted");
    }

    /** Waits for the receipt of what was sent. */
    static void receipt(StompSession.Receiptable sent) throws Exception {
        CompletableFuture<Void> done = new CompletableFuture<>();
        sent.addReceiptTask(() -> done.complete(null));
        sent.addReceiptLostTask(() -> done.completeExceptionally(new AssertionError("no RECEIPT")));
        within(done);
    }

    static void send(StompSession session, String destination, String body) throws Exception {
        receipt(session.send(destination, body));
    }

    static Subscribed subscribe(StompSession session, String destination, String... headers) throws Exception {
        StompHeaders all = new StompHeaders();
        all.setDestination(destination);
        for (int at = 0; at < headers.length; at += 2) {
            all.set(headers[at], headers[at + 1]);
        }
        Subscribed subscribed = new Subscribed();
        subscribed.subscription = session.subscribe(all, subscribed);
        receipt(subscribed.subscription);
        return subscribed;
    }

    /** A subscription that is live, whose messages can be waited for. */
    static final class Subscribed implements StompFrameHandler {
        final BlockingQueue<Received> arrived = new LinkedBlockingQueue<>();
        StompSession.Subscription subscription;

        Received next() throws Exception {
            Received next = arrived.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
            check(next != null, "no MESSAGE");
            return next;
        }

        @Override
        public Type getPayloadType(StompHeaders headers) {
            boolean binary = MimeTypeUtils.APPLICATION_OCTET_STREAM.equals(headers.getContentType());
            return binary ? byte[].class : String.class;
        }

        @Override
        public void handleFrame(StompHeaders headers, Object payload) {
            arrived.add(new Received(headers, payload));
        }
    }

    /** What a session came to: its CONNECTED, its ERROR, its end. */
    static final class Watch extends StompSessionHandlerAdapter {
        final CompletableFuture<StompHeaders> connected = new CompletableFuture<>();
        final CompletableFuture<StompHeaders> error = new CompletableFuture<>();
        final CompletableFuture<Throwable> lost = new CompletableFuture<>();

        @Override
        public void afterConnected(StompSession session, StompHeaders headers) {
            connected.complete(headers);
        }

        @Override
        public Type getPayloadType(StompHeaders headers) {
            return String.class;
        }

        @Override
        public void handleFrame(StompHeaders headers, Object payload) {
            error.complete(headers);
        }

        @Override
        public void handleException(
                StompSession session, StompCommand command, StompHeaders headers, byte[] body, Throwable cause) {
            lost.complete(cause);
        }

        @Override
        public void handleTransportError(StompSession session, Throwable cause) {
            lost.complete(cause);
        }
    }
}
