package com.example.relay;

import java.security.Principal;
import org.springframework.messaging.handler.annotation.MessageMapping;
import org.springframework.messaging.handler.annotation.Payload;
import org.springframework.messaging.handler.annotation.SendTo;
import org.springframework.messaging.simp.SimpMessagingTemplate;
import org.springframework.messaging.simp.annotation.SendToUser;
import org.springframework.stereotype.Controller;

/** What clients send to `/app/...` comes here, and never to the broker; the answers go out through it. */
@Controller
public class GreetingController {
    private final SimpMessagingTemplate template;

    GreetingController(SimpMessagingTemplate template) {
        this.template = template;
    }

    /** To everybody. */
    @MessageMapping("/greeting")
    @SendTo("/topic/greetings")
    public String greeting(String name) {
        return "Hello, " + name;
    }

    /** To whoever asked. */
    @MessageMapping("/question")
    @SendToUser("/queue/answers")
    public String question(String text) {
        return "Answer to " + text;
    }

    /** To one user, on whichever node: `bob: lunch?` */
    @MessageMapping("/whisper")
    public void whisper(@Payload String line, Principal sender) {
        String[] parts = line.split(": *", 2);
        if (parts.length == 2) {
            template.convertAndSendToUser(parts[0], "/queue/whispers", sender.getName() + ": " + parts[1]);
        }
    }
}
