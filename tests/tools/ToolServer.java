import java.io.*;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;

/**
 * Runs Apache's command line tools one after another in one Java process: a start of Java for each would take a second.
 * Read from standard input: main class, arguments, standard input of the tool. Written: exit code, standard output, standard error.
 * Where a tool would end the process, its shutdown hooks run and its thread stays parked: nothing of it goes on after that.
 */
public class ToolServer {
    public static void main(String[] ignored) {
        PrintStream err = System.err;
        try {
            serve();
        } catch (Throwable error) {
            error.printStackTrace(err);
            Runtime.getRuntime().halt(1);
        }
    }

    static void serve() throws Exception {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out)));
        onExit("ShutdownHookAdder", hook -> hooks.add((Runnable) hook[1]));
        out.writeInt(0);
        out.flush();
        while (true) {
            int count;
            try {
                count = in.readInt();
            } catch (EOFException end) {
                Runtime.getRuntime().halt(0);
                return;
            }
            String name = text(in);
            String[] args = new String[count];
            for (int i = 0; i < count; i++) args[i] = text(in);
            byte[] stdin = bytes(in);
            ByteArrayOutputStream stdout = new ByteArrayOutputStream(), stderr = new ByteArrayOutputStream();
            int code = call(name, args, stdin, stdout, stderr);
            out.writeInt(code);
            for (ByteArrayOutputStream each : new ByteArrayOutputStream[] {stdout, stderr}) {
                out.writeInt(each.size());
                each.writeTo(out);
            }
            out.flush();
        }
    }

    static final List<Runnable> hooks = new CopyOnWriteArrayList<>();

    static int call(String name, String[] args, byte[] stdin, OutputStream stdout, OutputStream stderr) throws Exception {
        int[] code = {0};
        CountDownLatch done = new CountDownLatch(1);
        PrintStream out = new PrintStream(stdout, true, "UTF-8"), err = new PrintStream(stderr, true, "UTF-8");
        System.setIn(new ByteArrayInputStream(stdin));
        System.setOut(out);
        System.setErr(err);
        for (String kind : new String[] {"Exit", "Halt"})
            onExit(kind + "Procedure", status -> {
                code[0] = (int) status[0];
                done.countDown();
                while (true) try { Thread.sleep(Long.MAX_VALUE); } catch (InterruptedException again) { }
            });
        Thread thread = new Thread(() -> {
            try {
                Class<?> tool = Class.forName(name);
                try {
                    // It counts in a static field, as one process runs it once.
                    var field = tool.getDeclaredField("messageCount");
                    field.setAccessible(true);
                    field.setInt(null, 0);
                } catch (NoSuchFieldException none) { }
                tool.getMethod("main", String[].class).invoke(null, (Object) args);
            } catch (Throwable error) {
                (error.getCause() == null ? error : error.getCause()).printStackTrace(err);
                code[0] = 1;
            }
            done.countDown();
        });
        thread.setDaemon(true);
        thread.start();
        done.await();
        for (Runnable hook : hooks) {
            Thread last = new Thread(hook);
            last.setDaemon(true);
            last.start();
            last.join(5000);
        }
        hooks.clear();
        out.flush();
        err.flush();
        return code[0];
    }

    /** Kafka's own way out of the process, which has moved between 4.3 and 4.4, calls this instead. */
    static void onExit(String kind, Consumer<Object[]> call) throws Exception {
        for (String room : new String[] {"org.apache.kafka.common.utils.", "org.apache.kafka.common.utils.internals."}) {
            Class<?> exit;
            try {
                exit = Class.forName(room + "Exit");
            } catch (ClassNotFoundException elsewhere) {
                continue;
            }
            for (var method : exit.getMethods())
                if (method.getName().equals("set" + kind))
                    method.invoke(null, Proxy.newProxyInstance(
                        exit.getClassLoader(), method.getParameterTypes(), (self, one, arguments) -> {
                            call.accept(arguments);
                            return null;
                        }));
        }
    }

    static byte[] bytes(DataInputStream in) throws IOException {
        byte[] found = new byte[in.readInt()];
        in.readFully(found);
        return found;
    }

    static String text(DataInputStream in) throws IOException {
        return new String(bytes(in), StandardCharsets.UTF_8);
    }
}
