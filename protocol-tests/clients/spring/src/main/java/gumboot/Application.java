package gumboot;

import java.security.Principal;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.event.EventListener;
import org.springframework.http.server.ServerHttpRequest;
import org.springframework.messaging.handler.annotation.MessageMapping;
import org.springframework.messaging.handler.annotation.SendTo;
import org.springframework.messaging.simp.annotation.SendToUser;
import org.springframework.messaging.simp.broker.BrokerAvailabilityEvent;
import org.springframework.messaging.simp.config.MessageBrokerRegistry;
import org.springframework.stereotype.Controller;
import org.springframework.web.socket.WebSocketHandler;
import org.springframework.web.socket.config.annotation.EnableWebSocketMessageBroker;
import org.springframework.web.socket.config.annotation.StompEndpointRegistry;
import org.springframework.web.socket.config.annotation.WebSocketMessageBrokerConfigurer;
import org.springframework.web.socket.server.support.DefaultHandshakeHandler;

/** A usual application, which has the broker behind it as Spring's broker relay. */
@SpringBootApplication
@EnableWebSocketMessageBroker
@Controller
public class Application implements WebSocketMessageBrokerConfigurer {
    /** Whether the relay's own session is connected, as Spring tells its applications. */
    final AtomicBoolean available = new AtomicBoolean();

    @Override
    public void configureMessageBroker(MessageBrokerRegistry registry) {
        String[] address = System.getenv("STOMP_TCP").split(":");
        registry.setApplicationDestinationPrefixes("/app");
        registry.enableStompBrokerRelay("/topic", "/queue")
                .setRelayHost(address[0])
                .setRelayPort(Integer.parseInt(address[1]))
                .setUserDestinationBroadcast("/topic/unresolved-user")
                .setUserRegistryBroadcast("/topic/user-registry");
    }

    @Override
    public void registerStompEndpoints(StompEndpointRegistry registry) {
        registry.addEndpoint("/ws").setHandshakeHandler(new ByName());
    }

    @EventListener
    public void onAvailability(BrokerAvailabilityEvent event) {
        available.set(event.isBrokerAvailable());
    }

    @MessageMapping("/greeting")
    @SendTo("/topic/greetings")
    public String greeting(String name) {
        return "Hello, " + name;
    }

    @MessageMapping("/question")
    @SendToUser("/queue/answers")
    public String question(String text) {
        return "Answer to " + text;
    }

    /** Who a client is stands in its URL: `?alice`. */
    private static final class ByName extends DefaultHandshakeHandler {
        @Override
        protected Principal determineUser(
                ServerHttpRequest request, WebSocketHandler handler, Map<String, Object> attributes) {
            String name = request.getURI().getQuery();
            return () -> name;
        }
    }
}
