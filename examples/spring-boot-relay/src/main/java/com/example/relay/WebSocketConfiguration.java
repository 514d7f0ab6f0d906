package com.example.relay;

import java.security.Principal;
import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Configuration;
import org.springframework.http.server.ServerHttpRequest;
import org.springframework.messaging.simp.config.MessageBrokerRegistry;
import org.springframework.web.socket.WebSocketHandler;
import org.springframework.web.socket.config.annotation.EnableWebSocketMessageBroker;
import org.springframework.web.socket.config.annotation.StompEndpointRegistry;
import org.springframework.web.socket.config.annotation.WebSocketMessageBrokerConfigurer;
import org.springframework.web.socket.server.support.DefaultHandshakeHandler;

/** Pages connect to this application, and it passes on to the broker what is for topics and queues. */
@Configuration
@EnableWebSocketMessageBroker
public class WebSocketConfiguration implements WebSocketMessageBrokerConfigurer {
    private final String host;
    private final int port;

    WebSocketConfiguration(@Value("${relay.host}") String host, @Value("${relay.port}") int port) {
        this.host = host;
        this.port = port;
    }

    @Override
    public void configureMessageBroker(MessageBrokerRegistry registry) {
        registry.setApplicationDestinationPrefixes("/app");
        // The broker keeps messages in order, but Spring's threads may overtake one another unless they are told not to.
        registry.setPreservePublishOrder(true);
        registry.enableStompBrokerRelay("/topic", "/queue")
                .setRelayHost(host)
                .setRelayPort(port)
                // With these two, a message to a user finds the user whichever node of the application has the connection.
                .setUserDestinationBroadcast("/topic/unresolved-user")
                .setUserRegistryBroadcast("/topic/user-registry");
    }

    @Override
    public void registerStompEndpoints(StompEndpointRegistry registry) {
        registry.addEndpoint("/ws").setHandshakeHandler(new ByName());
        registry.addEndpoint("/ws").setHandshakeHandler(new ByName()).withSockJS();
    }

    /** Who a client is stands in its URL, `?name=alice`. An application with a login has a principal already. */
    private static final class ByName extends DefaultHandshakeHandler {
        @Override
        protected Principal determineUser(
                ServerHttpRequest request, WebSocketHandler handler, Map<String, Object> attributes) {
            String query = request.getURI().getQuery();
            String name = query == null ? "nobody" : query.replaceFirst("^name=", "");
            return () -> name;
        }
    }
}
