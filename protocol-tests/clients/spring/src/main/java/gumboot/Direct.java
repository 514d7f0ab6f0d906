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
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.springframework.messaging.converter.StringMessageConverter;
import org.springframework.messaging.simp.stomp.ReactorNettyTcpStompClient;
import org.springframework.messaging.simp.stomp.StompClientSupport;
import org.springframework.messaging.simp.stomp.StompHeaders;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.web.socket.WebSocketHttpHeaders;
import org.springframework.web.socket.client.standard.StandardWebSocketClient;
import org.springframework.web.socket.messaging.WebSocketStompClient;

/** Spring's STOMP clients with nothing between them and the broker: over WebSocket, or over TCP with TRANSPORT=tcp. */
public final class Direct {
    private static final int LARGE = 1 << 20;

    private final StompClientSupport client;

    private Direct(StompClientSupport client) {
        this.client = client;
        client.setMessageConverter(new StringMessageConverter());
        client.setTaskScheduler(scheduler());
        client.setDefaultHeartbeat(new long[] {300, 300});
    }

    public static void main(String[] arguments) {
        boolean tcp = "tcp".equals(System.getenv("TRANSPORT"));
        new Direct(tcp ? overTcp() : overWebSocket()).run();
    }

    static ThreadPoolTaskScheduler scheduler() {
        ThreadPoolTaskScheduler scheduler = new ThreadPoolTaskScheduler();
        scheduler.afterPropertiesSet();
        return scheduler;
    }

    static WebSocketStompClient overWebSocket() {
        WebSocketContainer container = ContainerProvider.getWebSocketContainer();
        container.setDefaultMaxTextMessageBufferSize(LARGE);
        WebSocketStompClient client = new WebSocketStompClient(new StandardWebSocketClient(container));
        client.setInboundMessageSizeLimit(LARGE);
        return client;
    }

    private static ReactorNettyTcpStompClient overTcp() {
        String[] address = System.getenv("STOMP_TCP").split(":");
        return new ReactorNettyTcpStompClient(address[0], Integer.parseInt(address[1]));
    }

    private CompletableFuture<StompSession> start(Kit.Watch watch) {
        if (client instanceof ReactorNettyTcpStompClient tcp) {
            return tcp.connectAsync(new StompHeaders(), watch);
        }
        WebSocketStompClient socket = (WebSocketStompClient) client;
        return socket.connectAsync(System.getenv("STOMP_URL"), new WebSocketHttpHeaders(), new StompHeaders(), watch);
    }

    private StompSession connect() throws Exception {
        return opened(start(new Kit.Watch()));
    }

    private void run() {
        feature("connect", this::connected);
        feature("send, subscribe", this::sendAndSubscribe);
        feature("unsubscribe", this::unsubscribe);
        feature("receipts", () -> send(connect(), fresh("/topic"), "nobody hears it"));
        feature("heart-beats", this::heartBeats);
        feature("ack individual", this::ackIndividual);
        feature("nack", this::nack);
        feature("large message", this::large);
        feature("unicode", this::unicode);
        feature("error, close", this::errorAndClose);
        feature("disconnect", this::disconnect);
        feature("reconnect", this::reconnect);
        Kit.report();
    }

    private void connected() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        opened(start(watch));
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
        StompSession session = opened(start(watch));
        equal(watch.connected.join().getFirst("heart-beat"), "300,300");
        // Each side gives the other up after three intervals: five are enough to see that neither does.
        Thread.sleep(1500);
        check(!watch.lost.isDone() && session.isConnected(), watch.lost);
        send(session, fresh("/topic"), "still here");
    }

    private void ackIndividual() throws Exception {
        String destination = fresh("/queue");
        StompSession session = connect();
        StompSession reader = connect();
        for (String body : List.of("one", "two", "three")) {
            send(session, destination, body);
        }
        Kit.Subscribed subscribed = subscribe(reader, destination, "ack", "client-individual");
        subscribed.next();
        receipt(reader.acknowledge(subscribed.next().headers().getAck(), true));
        equal(subscribed.next().body(), "three");
        reader.disconnect();
        Kit.Subscribed left = subscribe(session, destination);
        equal(left.next().body(), "one");
        equal(left.next().body(), "three");
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

    private void large() throws Exception {
        String destination = fresh("/topic");
        String body = "large ".repeat(40_000);
        StompSession session = connect();
        Kit.Subscribed subscribed = subscribe(session, destination);
        send(session, destination, body);
        equal(subscribed.next().body(), body);
    }

    private void unicode() throws Exception {
        String destination = fresh("/topic") + "-żółw";
        StompSession session = connect();
        Kit.Subscribed subscribed = subscribe(session, destination);
        StompHeaders headers = new StompHeaders();
        headers.setDestination(destination);
        headers.set("note", "colon : backslash \\ line\nreturn\r 👢");
        receipt(session.send(headers, "Grüße, 世界 👢"));
        Kit.Received next = subscribed.next();
        equal(next.body(), "Grüße, 世界 👢");
        equal(next.headers().getFirst("note"), headers.getFirst("note"));
    }

    private void errorAndClose() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        StompSession session = opened(start(watch));
        session.send("/nowhere/at-all", "lost");
        equal(within(watch.error).getFirst("code"), "unknown-destination");
        within(watch.lost);
        check(!session.isConnected(), "still connected");
    }

    private void disconnect() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        String destination = fresh("/queue");
        StompSession session = opened(start(watch));
        subscribe(session, destination, "ack", "client");
        session.disconnect();
        StompSession other = connect();
        send(other, destination, "for whoever is left");
        equal(subscribe(other, destination).next().body(), "for whoever is left");
        check(!watch.error.isDone() && !watch.lost.isDone(), watch.lost);
    }

    private void reconnect() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        opened(start(watch));
        Kit.restartBroker();
        within(watch.lost);
        String destination = fresh("/topic");
        StompSession session = connect();
        Kit.Subscribed subscribed = subscribe(session, destination);
        send(session, destination, "after the restart");
        equal(subscribed.next().body(), "after the restart");
    }
}
