package gumboot;

import static gumboot.Kit.check;
import static gumboot.Kit.equal;
import static gumboot.Kit.feature;
import static gumboot.Kit.fresh;
import static gumboot.Kit.opened;
import static gumboot.Kit.receipt;
import static gumboot.Kit.send;
import static gumboot.Kit.subscribe;
import static gumboot.Kit.within;

import jakarta.websocket.ContainerProvider;
import jakarta.websocket.WebSocketContainer;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.springframework.messaging.converter.ByteArrayMessageConverter;
import org.springframework.messaging.converter.CompositeMessageConverter;
import org.springframework.messaging.converter.StringMessageConverter;
import org.springframework.messaging.simp.stomp.ReactorNettyTcpStompClient;
import org.springframework.messaging.simp.stomp.StompClientSupport;
import org.springframework.messaging.simp.stomp.StompHeaders;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.util.MimeTypeUtils;
import org.springframework.web.socket.WebSocketHttpHeaders;
import org.springframework.web.socket.client.standard.StandardWebSocketClient;
import org.springframework.web.socket.messaging.WebSocketStompClient;
import org.springframework.web.socket.sockjs.client.RestTemplateXhrTransport;
import org.springframework.web.socket.sockjs.client.SockJsClient;
import org.springframework.web.socket.sockjs.client.Transport;
import org.springframework.web.socket.sockjs.client.WebSocketTransport;

/**
 * Spring's STOMP clients with nothing between them and the broker. TRANSPORT says over what: `websocket`, `tcp`, or one of
 * the transports of Spring's SockJS client.
 */
public final class Direct {
    private static final int LARGE = 1 << 20;

    static final String LARGE_TEXT = "large ".repeat(40_000);

    private static final String TRANSPORT = System.getenv().getOrDefault("TRANSPORT", "websocket");

    private static final boolean SOCKJS = TRANSPORT.startsWith("sockjs");

    /** How a session begins: straight to the broker, or by way of an application. */
    interface Connector {
        CompletableFuture<StompSession> start(Kit.Watch watch);
    }

    private final Connector connector;

    Direct(Connector connector) {
        this.connector = connector;
    }

    private Direct(StompClientSupport client) {
        this(watch -> start(client, watch));
        client.setMessageConverter(
                new CompositeMessageConverter(List.of(new StringMessageConverter(), new ByteArrayMessageConverter())));
        client.setTaskScheduler(scheduler());
        client.setDefaultHeartbeat(new long[] {300, 300});
    }

    public static void main(String[] arguments) {
        new Direct("tcp".equals(TRANSPORT) ? overTcp() : overWebSocket()).run();
    }

    static ThreadPoolTaskScheduler scheduler() {
        ThreadPoolTaskScheduler scheduler = new ThreadPoolTaskScheduler();
        scheduler.afterPropertiesSet();
        return scheduler;
    }

    static WebSocketStompClient overWebSocket() {
        WebSocketContainer container = ContainerProvider.getWebSocketContainer();
        container.setDefaultMaxTextMessageBufferSize(LARGE);
        StandardWebSocketClient socket = new StandardWebSocketClient(container);
        Transport transport =
                switch (TRANSPORT) {
                    case "sockjs-websocket" -> new WebSocketTransport(socket);
                    case "sockjs-xhr-streaming" -> new RestTemplateXhrTransport();
                    case "sockjs-xhr-polling" -> polling();
                    default -> null;
                };
        WebSocketStompClient client =
                new WebSocketStompClient(transport == null ? socket : new SockJsClient(List.of(transport)));
        client.setInboundMessageSizeLimit(LARGE);
        client.setOutboundMessageSizeLimit(LARGE_TEXT.length());
        return client;
    }

    private static Transport polling() {
        RestTemplateXhrTransport transport = new RestTemplateXhrTransport();
        transport.setXhrStreamingDisabled(true);
        return transport;
    }

    private static ReactorNettyTcpStompClient overTcp() {
        String[] address = System.getenv("STOMP_TCP").split(":");
        return new ReactorNettyTcpStompClient(address[0], Integer.parseInt(address[1]));
    }

    private static CompletableFuture<StompSession> start(StompClientSupport client, Kit.Watch watch) {
        if (client instanceof ReactorNettyTcpStompClient tcp) {
            return tcp.connectAsync(new StompHeaders(), watch);
        }
        WebSocketStompClient socket = (WebSocketStompClient) client;
        String url = System.getenv("STOMP_URL");
        String where = SOCKJS ? url.replaceFirst("ws", "http") : url;
        return socket.connectAsync(where, new WebSocketHttpHeaders(), new StompHeaders(), watch);
    }

    private StompSession connect() throws Exception {
        return opened(connector.start(new Kit.Watch()));
    }

    private void run() {
        feature("connect", this::connected);
        feature("send, subscribe", this::sendAndSubscribe);
        common();
        feature("large message", () -> bounce(LARGE_TEXT));
        feature("split frames", "websocket".equals(TRANSPORT) ? () -> bounce(LARGE_TEXT + LARGE_TEXT) : null);
        feature("binary body", SOCKJS ? null : this::binary);
        feature("error, close", this::errorAndClose);
        feature("disconnect", this::disconnect);
        feature("reconnect", this::reconnect);
        Kit.report();
    }

    /** What is the same by way of an application. */
    void common() {
        feature("unsubscribe", this::unsubscribe);
        feature("patterns", this::patterns);
        feature("receipts", () -> send(connect(), fresh("/topic"), "nobody hears it"));
        feature("heart-beats", this::heartBeats);
        feature("ack individual", () -> acknowledge("client-individual", "one", "three"));
        feature("ack cumulative", () -> acknowledge("client", "three"));
        feature("nack", this::nack);
        // Spring's client cannot say BEGIN, COMMIT or ABORT.
        feature("commit, abort", null);
        feature("unicode", this::unicode);
        feature("header escapes", this::escapes);
    }

    private void connected() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        opened(connector.start(watch));
        equal(watch.connected.join().getFirst("version"), "1.2");
    }

    private void sendAndSubscribe() throws Exception {
        String destination = fresh("/topic");
        Kit.Subscribed subscribed = subscribe(connect(), destination);
        StompSession publisher = connect();
        for (int number = 0; number < 100; number += 1) {
            publisher.send(destination, "" + number);
        }
        for (int number = 0; number < 100; number += 1) {
            Kit.Received next = subscribed.next();
            equal(next.body(), "" + number);
            equal(next.headers().getDestination(), destination);
        }
    }

    private void unsubscribe() throws Exception {
        String destination = fresh("/topic");
        StompSession session = connect();
        Kit.Subscribed ended = subscribe(session, destination);
        Kit.Subscribed live = subscribe(session, destination);
        ended.subscription.unsubscribe();
        send(session, destination, "one");
        equal(live.next().body(), "one");
        check(ended.arrived.isEmpty(), ended.arrived);
    }

    private void heartBeats() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        StompSession session = opened(connector.start(watch));
        equal(watch.connected.join().getFirst("heart-beat"), "300,300");
        // Each side gives the other up after three intervals: five are enough to see that neither does.
        Thread.sleep(1500);
        check(!watch.lost.isDone() && session.isConnected(), watch.lost);
        send(session, fresh("/topic"), "still here");
    }

    private void patterns() throws Exception {
        String base = fresh("/topic");
        StompSession session = connect();
        Kit.Subscribed star = subscribe(session, base + "/*/price");
        Kit.Subscribed deep = subscribe(session, base + "/**");
        send(session, base + "/tea/price", "3");
        send(session, base + "/tea/stock/north", "9");
        equal(star.next().headers().getDestination(), base + "/tea/price");
        equal(deep.next().body(), "3");
        equal(deep.next().body(), "9");
        check(star.arrived.isEmpty(), star.arrived);
    }

    /** Of three messages the second is acknowledged; the others, or those after it, come to the next reader. */
    private void acknowledge(String mode, String... left) throws Exception {
        String destination = fresh("/queue");
        StompSession session = connect();
        StompSession reader = connect();
        for (String body : List.of("one", "two", "three")) {
            send(session, destination, body);
        }
        Kit.Subscribed subscribed = subscribe(reader, destination, "ack", mode);
        subscribed.next();
        String second = subscribed.next().headers().getAck();
        equal(subscribed.next().body(), "three");
        receipt(reader.acknowledge(second, true));
        reader.disconnect();
        Kit.Subscribed rest = subscribe(session, destination);
        for (String body : left) {
            Kit.Received next = rest.next();
            equal(next.body(), body);
            equal(next.headers().getFirst("redelivered"), "true");
        }
    }

    private void nack() throws Exception {
        String destination = fresh("/queue");
        StompSession session = connect();
        Kit.Subscribed subscribed = subscribe(session, destination, "ack", "client-individual");
        send(session, destination, "one");
        session.acknowledge(subscribed.next().headers().getAck(), false);
        Kit.Received again = subscribed.next();
        equal(again.headers().getFirst("redelivered"), "true");
        receipt(session.acknowledge(again.headers().getAck(), true));
    }

    private void bounce(String body) throws Exception {
        String destination = fresh("/topic");
        StompSession session = connect();
        Kit.Subscribed subscribed = subscribe(session, destination);
        send(session, destination, body);
        equal(subscribed.next().body(), body);
    }

    private void binary() throws Exception {
        String destination = fresh("/topic");
        StompSession session = connect();
        Kit.Subscribed subscribed = subscribe(session, destination);
        byte[] body = new byte[1024];
        for (int at = 0; at < body.length; at += 1) {
            body[at] = (byte) at;
        }
        StompHeaders headers = new StompHeaders();
        headers.setDestination(destination);
        headers.setContentType(MimeTypeUtils.APPLICATION_OCTET_STREAM);
        receipt(session.send(headers, body));
        check(Arrays.equals(subscribed.next().bytes(), body), "another body");
    }

    private void unicode() throws Exception {
        String destination = fresh("/topic") + "-żółw";
        StompSession session = connect();
        Kit.Subscribed subscribed = subscribe(session, destination);
        send(session, destination, "Grüße, 世界 👢");
        Kit.Received next = subscribed.next();
        equal(next.body(), "Grüße, 世界 👢");
        equal(next.headers().getDestination(), destination);
    }

    private void escapes() throws Exception {
        String destination = fresh("/topic");
        StompSession session = connect();
        Kit.Subscribed subscribed = subscribe(session, destination);
        StompHeaders headers = new StompHeaders();
        headers.setDestination(destination);
        headers.set("note", "colon : backslash \\ line\nreturn\r 👢");
        receipt(session.send(headers, ""));
        equal(subscribed.next().headers().getFirst("note"), headers.getFirst("note"));
    }

    private void errorAndClose() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        StompSession session = opened(connector.start(watch));
        session.send("/nowhere/at-all", "lost");
        equal(within(watch.error).getFirst("code"), "unknown-destination");
        within(watch.lost);
        check(!session.isConnected(), "still connected");
    }

    private void disconnect() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        String destination = fresh("/queue");
        StompSession session = opened(connector.start(watch));
        subscribe(session, destination, "ack", "client");
        session.disconnect();
        StompSession other = connect();
        send(other, destination, "for whoever is left");
        equal(subscribe(other, destination).next().body(), "for whoever is left");
        check(!watch.error.isDone() && !watch.lost.isDone(), watch.lost);
    }

    private void reconnect() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        opened(connector.start(watch));
        Kit.restartBroker();
        within(watch.lost);
        String destination = fresh("/topic");
        StompSession session = connect();
        Kit.Subscribed subscribed = subscribe(session, destination);
        send(session, destination, "after the restart");
        equal(subscribed.next().body(), "after the restart");
    }
}
