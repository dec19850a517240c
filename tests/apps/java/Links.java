// A front end on Java's HttpServer: `Links pool|virtual PORT LOG DOWNSTREAM...`, each DOWNSTREAM a port of 127.0.0.1. Requests are
// worked on by a pool of threads, or by a virtual thread each (JDK 21). What belongs together is written to LOG at the end:
// `IN-PORT IN-ORDINAL OUT-PORT TO-PORT OUT-ORDINAL`.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;

public class Links {
    static final Map<String, Integer> seen = new HashMap<>();
    static final List<String> truth = new ArrayList<>();
    static final Map<Integer, ConcurrentLinkedDeque<Socket>> idle = new HashMap<>();
    static int[] downstream;
    static ExecutorService workers;
    // Tasks of a request wait for others: with the same pool for both, all of it could wait.
    static ExecutorService helpers;

    static synchronized int count(String ports) {
        int ordinal = seen.getOrDefault(ports, 0);
        seen.put(ports, ordinal + 1);
        return ordinal;
    }

    static synchronized void note(String line) {
        truth.add(line);
    }

    static Void call(String own, int which, String path) throws IOException {
        int port = downstream[which];
        Socket socket = idle.get(port).pollFirst();
        if (socket == null) {
            socket = new Socket("127.0.0.1", port);
            socket.setTcpNoDelay(true);
        }
        String ports = socket.getLocalPort() + " " + port;
        note(own + " " + ports + " " + count(ports));
        socket.getOutputStream().write(("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").getBytes());
        // The answers are all alike: a head that ends with an empty line, and four bytes.
        InputStream in = socket.getInputStream();
        byte[] buffer = new byte[4096];
        String text = "";
        while (!text.endsWith("\r\n\r\nback")) {
            int length = in.read(buffer);
            if (length < 0) throw new IOException("no answer");
            text += new String(buffer, 0, length);
        }
        idle.get(port).addFirst(socket);
        return null;
    }

    static void work(String route, String own) throws Exception {
        switch (route) {
            case "one" -> call(own, 0, "/a");
            case "sequence" -> {
                call(own, 0, "/a");
                call(own, 1, "/b");
            }
            case "parallel" -> {
                Future<Void> other = helpers.submit(() -> call(own, 0, "/a"));
                call(own, 1, "/b");
                other.get();
                call(own, 0, "/c");
            }
            case "cached" -> {
                call(own, 0, "/a");
                if (ThreadLocalRandom.current().nextBoolean()) call(own, 1, "/b");
            }
            default -> { }
        }
    }

    static void serve(HttpExchange exchange) throws IOException {
        int remote = exchange.getRemoteAddress().getPort();
        String own = remote + " " + count("in " + remote);
        try {
            work(exchange.getRequestURI().getPath().substring(1), own);
        } catch (Exception error) {
            throw new IOException(error);
        }
        byte[] body = "done\n".getBytes();
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    static ExecutorService executor(String kind) throws Exception {
        // By its name: older compilers do not know it.
        return kind.equals("virtual")
                ? (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null)
                : Executors.newFixedThreadPool(64);
    }

    public static void main(String[] args) throws Exception {
        downstream = new int[] {Integer.parseInt(args[3]), Integer.parseInt(args[4])};
        for (int port : downstream) idle.put(port, new ConcurrentLinkedDeque<>());
        workers = executor(args[0]);
        helpers = executor(args[0]);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            synchronized (Links.class) {
                try {
                    Files.writeString(Path.of(args[2]), String.join("\n", truth) + "\n");
                } catch (IOException error) {
                    System.err.println(error);
                }
            }
        }));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[1])), 512);
        server.createContext("/", Links::serve);
        server.setExecutor(workers);
        server.start();
    }
}
