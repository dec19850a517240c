// The routes of the test programs on Java's own HTTP server, a thread per request from a pool.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.concurrent.Executors;

public class Routes {
    static byte[] repeat(char letter, int times) {
        byte[] bytes = new byte[times];
        Arrays.fill(bytes, (byte) letter);
        return bytes;
    }

    static void answer(HttpExchange exchange, int status, byte[] body) throws IOException {
        boolean bare = exchange.getRequestMethod().equals("HEAD") || body.length == 0;
        exchange.sendResponseHeaders(status, bare ? -1 : body.length);
        if (!bare) {
            exchange.getResponseBody().write(body);
        }
        exchange.close();
    }

    static void handle(HttpExchange exchange) throws IOException {
        String[] parts = exchange.getRequestURI().getPath().split("/");
        String route = parts.length > 1 ? parts[1] : "";
        int number = parts.length > 2 ? Integer.parseInt(parts[2]) : 0;
        switch (route) {
            case "hello" -> answer(exchange, 200, "hello\n".getBytes());
            case "echo" -> {
                long total = 0;
                byte[] buffer = new byte[8192];
                InputStream body = exchange.getRequestBody();
                for (int read = body.read(buffer); read >= 0; read = body.read(buffer)) {
                    total += read;
                }
                answer(exchange, 200, Long.toString(total).getBytes());
            }
            case "bytes" -> answer(exchange, 200, repeat('b', number));
            case "chunked" -> {
                exchange.sendResponseHeaders(200, 0);
                try (OutputStream out = exchange.getResponseBody()) {
                    for (int left = number; left > 0; left -= 1000) {
                        out.write(repeat('c', Math.min(1000, left)));
                        out.flush();
                    }
                }
                exchange.close();
            }
            case "status" -> answer(exchange, number,
                number == 204 || number == 304 ? new byte[0] : "status\n".getBytes());
            case "slow" -> {
                try {
                    Thread.sleep(number);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
                answer(exchange, 200, "slow\n".getBytes());
            }
            default -> answer(exchange, 404, "none\n".getBytes());
        }
    }

    public static void main(String[] arguments) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])), 64);
        server.createContext("/", Routes::handle);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
    }
}
