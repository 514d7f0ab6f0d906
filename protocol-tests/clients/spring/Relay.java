package gumboot;

import static gumboot.Kit.check;
import static gumboot.Kit.equal;
import static gumboot.Kit.feature;
import static gumboot.Kit.fresh;
import static gumboot.Kit.opened;
import static gumboot.Kit.send;
import static gumboot.Kit.subscribe;
import static gumboot.Kit.until;
import static gumboot.Kit.within;

import com.example.relay.Application;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ApplicationListener;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.messaging.converter.StringMessageConverter;
import org.springframework.messaging.simp.SimpMessagingTemplate;
import org.springframework.messaging.simp.broker.BrokerAvailabilityEvent;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.messaging.simp.user.SimpUserRegistry;
import org.springframework.web.socket.messaging.WebSocketStompClient;

/** Two nodes of an application with the broker behind them, and the web clients of both. */
public final class Relay {
    private static final int MANY = 200;

    /**
     * How long an application may be without its system session. Spring connects again before it has done away with the old
     * connection, and on a busy machine then takes the new one for that and forgets it ("No TcpConnection available" in its
     * log). Silent as it is, the broker ends it after three heart-beats of 10 s, and Spring comes back.
     */
    private static final int PATIENCE_WITH_SYSTEM_SECONDS = 60;

    private final WebSocketStompClient client = Direct.overWebSocket();
    private final WebSocketStompClient beating = Direct.overWebSocket();
    private final Node here = Node.start();
    private final Node there = Node.start();

    private Relay() {
        client.setMessageConverter(new StringMessageConverter());
        client.setTaskScheduler(Direct.scheduler());
        beating.setMessageConverter(new StringMessageConverter());
        beating.setTaskScheduler(Direct.scheduler());
        beating.setDefaultHeartbeat(new long[] {300, 300});
    }

    public static void main(String[] arguments) {
        new Relay().run();
    }

    /** The application of `examples/spring-boot-relay`, and whether it says that it has its broker. */
    private record Node(ConfigurableApplicationContext context, AtomicBoolean available) {
        static Node start() {
            String[] address = System.getenv("STOMP_TCP").split(":");
            AtomicBoolean available = new AtomicBoolean();
            ApplicationListener<BrokerAvailabilityEvent> watch = event -> available.set(event.isBrokerAvailable());
            ConfigurableApplicationContext context = new SpringApplicationBuilder(Application.class)
                    .properties("server.port=0", "spring.main.banner-mode=off", "logging.level.root=off")
                    .listeners(watch)
                    .run("--relay.host=" + address[0], "--relay.port=" + address[1]);
            return new Node(context, available);
        }

        String url(String user) {
            return "ws://127.0.0.1:" + context.getEnvironment().getProperty("local.server.port") + "/ws?name=" + user;
        }

        SimpMessagingTemplate template() {
            return context.getBean(SimpMessagingTemplate.class);
        }

        SimpUserRegistry registry() {
            return context.getBean(SimpUserRegistry.class);
        }

        void waitFor(boolean wanted) throws Exception {
            until("broker that is available: " + wanted, PATIENCE_WITH_SYSTEM_SECONDS, () -> available.get() == wanted);
        }
    }

    private CompletableFuture<StompSession> start(Node node, String user, Kit.Watch watch) {
        return client.connectAsync(node.url(user), watch);
    }

    private StompSession connect(Node node, String user) throws Exception {
        return opened(start(node, user, new Kit.Watch()));
    }

    private void run() {
        feature("relay, system session", () -> here.waitFor(true));
        feature("connect", () -> connect(here, "alice"));
        feature("send, subscribe", this::topic);
        new Direct(watch -> beating.connectAsync(here.url("alice"), watch)).common();
        feature("large message", this::large);
        feature("relay, @MessageMapping, @SendTo", this::sendTo);
        feature("relay, @SendToUser", this::sendToUser);
        feature("relay, user to user", this::whisper);
        feature("relay, user on the same node", () -> toUser(here));
        feature("relay, user on another node", () -> toUser(there));
        feature("relay, user registry", this::registry);
        feature("relay, 200 clients at once", this::many);
        feature("error, close", this::error);
        feature("relay, ERROR to the system session", this::systemError);
        feature("disconnect", this::disconnect);
        feature("reconnect", this::reconnect);
        Kit.report();
    }

    private void topic() throws Exception {
        String destination = fresh("/topic");
        Kit.Subscribed subscribed = subscribe(connect(here, "alice"), destination);
        send(connect(there, "bob"), destination, "from the other node");
        Kit.Received next = subscribed.next();
        equal(next.body(), "from the other node");
        equal(next.headers().getDestination(), destination);
        there.template().convertAndSend(destination, "from the application");
        equal(subscribed.next().body(), "from the application");
    }

    private void large() throws Exception {
        String destination = fresh("/topic");
        Kit.Subscribed subscribed = subscribe(connect(here, "alice"), destination);
        there.template().convertAndSend(destination, Direct.LARGE_TEXT);
        equal(subscribed.next().body(), Direct.LARGE_TEXT);
    }

    private void sendTo() throws Exception {
        StompSession session = connect(here, "alice");
        Kit.Subscribed subscribed = subscribe(session, "/topic/greetings");
        // What goes to the application has no RECEIPT from the broker.
        session.setAutoReceipt(false);
        session.send("/app/greeting", "Alice");
        equal(subscribed.next().body(), "Hello, Alice");
    }

    private void sendToUser() throws Exception {
        StompSession session = connect(here, "alice");
        Kit.Subscribed subscribed = subscribe(session, "/user/queue/answers");
        session.setAutoReceipt(false);
        session.send("/app/question", "a question");
        Kit.Received next = subscribed.next();
        equal(next.body(), "Answer to a question");
        equal(next.headers().getDestination(), "/user/queue/answers");
    }

    /** The last of the example's three: a client's message to the application, and from there to a user of another node. */
    private void whisper() throws Exception {
        String name = fresh("w").substring(2);
        Kit.Subscribed subscribed = subscribe(connect(there, name), "/user/queue/whispers");
        StompSession session = connect(here, "alice");
        session.setAutoReceipt(false);
        session.send("/app/whisper", name + ": lunch?");
        equal(subscribed.next().body(), "alice: lunch?");
    }

    private void toUser(Node node) throws Exception {
        String[] names = {fresh("a").substring(2), fresh("b").substring(2)};
        Kit.Subscribed first = subscribe(connect(node, names[0]), "/user/queue/notes");
        Kit.Subscribed second = subscribe(connect(node, names[1]), "/user/queue/notes");
        here.template().convertAndSendToUser(names[0], "/queue/notes", "to the first");
        here.template().convertAndSendToUser(names[1], "/queue/notes", "to the second");
        equal(first.next().body(), "to the first");
        equal(second.next().body(), "to the second");
        check(first.arrived.isEmpty() && second.arrived.isEmpty(), first.arrived);
    }

    private void registry() throws Exception {
        String name = fresh("r").substring(2);
        connect(there, name);
        SimpUserRegistry registry = here.registry();
        until("user of the other node", () -> registry.getUser(name) != null);
    }

    private void many() throws Exception {
        String destination = fresh("/topic");
        List<CompletableFuture<StompSession>> connecting = new ArrayList<>();
        for (int number = 0; number < MANY; number += 1) {
            connecting.add(start(here, "user-" + number, new Kit.Watch()));
        }
        List<Kit.Subscribed> subscribed = new ArrayList<>();
        for (CompletableFuture<StompSession> session : connecting) {
            subscribed.add(subscribe(opened(session), destination));
        }
        there.template().convertAndSend(destination, "to all");
        for (Kit.Subscribed one : subscribed) {
            equal(one.next().body(), "to all");
        }
        for (CompletableFuture<StompSession> session : connecting) {
            session.join().disconnect();
        }
    }

    /** For Spring `/topicless` is below `/topic` and goes to the broker, for which it is not. */
    private void error() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        StompSession session = opened(start(here, "alice", watch));
        session.send("/topicless/at-all", "lost");
        equal(within(watch.error).getFirst("code"), "unknown-destination");
        within(watch.lost);
    }

    /** The broker ends the session; Spring takes no message and no client of this node until it has a new one. */
    private void systemError() throws Exception {
        String destination = fresh("/topic");
        Kit.Subscribed subscribed = subscribe(connect(here, "alice"), destination);
        here.template().convertAndSend("/topicless/at-all", "lost");
        until("application that sends again", PATIENCE_WITH_SYSTEM_SECONDS, () -> {
            try {
                here.template().convertAndSend(destination, "still here");
            } catch (RuntimeException unavailable) {
                return false;
            }
            return !subscribed.arrived.isEmpty();
        });
    }

    private void disconnect() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        String name = fresh("d").substring(2);
        StompSession session = opened(start(here, name, watch));
        SimpUserRegistry registry = here.registry();
        until("user", () -> registry.getUser(name) != null);
        session.disconnect();
        until("end of the user", () -> registry.getUser(name) == null);
        check(!watch.error.isDone() && !watch.lost.isDone(), watch.lost);
    }

    private void reconnect() throws Exception {
        Kit.Watch watch = new Kit.Watch();
        opened(start(here, "alice", watch));
        Kit.restartBroker();
        within(watch.lost);
        here.waitFor(true);
        there.waitFor(true);
        topic();
    }
}
