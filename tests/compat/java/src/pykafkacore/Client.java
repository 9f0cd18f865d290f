package pykafkacore;

import java.io.BufferedWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * kafka-clients as one of the compared clients. See ../../clients/README.md for the common command line and file format.
 */
public final class Client {
    private static final Base64.Encoder ENCODER = Base64.getEncoder();
    private static final Base64.Decoder DECODER = Base64.getDecoder();

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "produce" -> {
                for (int i = 3; i < args.length; i++) produce(args[1], Path.of(args[2]), args[i].split(":"));
            }
            case "consume" -> {
                for (int i = 3; i < args.length; i++) consume(args[1], Path.of(args[2]), args[i]);
            }
            case "group" -> group(args[1], args[2], args[3], args[4]);
            case "transact" -> transact(args[1], args[2], args[3]);
            case "isolated" -> isolated(args[1], args[2], args[3]);
            case "transform" -> transform(args[1], args[2], args[3], args[4], args[5]);
            default -> throw new IllegalArgumentException("produce, consume or group, not " + args[0]);
        }
    }

    private static byte[] decode(String text) {
        return text.equals("-") ? null : DECODER.decode(text);
    }

    private static String encode(byte[] bytes) {
        return bytes == null ? "-" : ENCODER.encodeToString(bytes);
    }

    private static void produce(String bootstrap, Path records, String[] spec) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("compression.type", spec[1]);
        if (!spec[2].equals("default")) properties.put("acks", spec[2]);
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (String line : Files.readAllLines(records)) {
                String[] fields = line.split("\t", -1);
                ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                        spec[0], null, Long.parseLong(fields[0]), decode(fields[1]), decode(fields[2]));
                if (!fields[3].isEmpty()) {
                    for (String header : fields[3].split(";")) {
                        int at = header.indexOf('=');
                        record.headers().add(header.substring(0, at), decode(header.substring(at + 1)));
                    }
                }
                sent.add(producer.send(record));
            }
            producer.flush();
            for (Future<RecordMetadata> one : sent) one.get();
        }
    }

    private static void group(String bootstrap, String topic, String groupId, String protocol) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("group.id", groupId);
        properties.put("group.protocol", protocol);
        properties.put("auto.offset.reset", "earliest");
        if (protocol.equals("classic")) {
            properties.put("session.timeout.ms", "6000");
            properties.put("heartbeat.interval.ms", "1000");
        }
        KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        consumer.subscribe(List.of(topic));
        try {
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    System.out.println(record.partition() + "\t" + record.offset());
                }
                System.out.flush();
            }
        } catch (org.apache.kafka.common.errors.WakeupException e) {
            consumer.close();
        }
    }

    /** Six transactions of ten records, every other one aborted. */
    private static void transact(String bootstrap, String topic, String transactionalId) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("transactional.id", transactionalId);
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            for (int i = 0; i < 6; i++) {
                producer.beginTransaction();
                for (int k = 0; k < 10; k++) {
                    producer.send(new ProducerRecord<>(topic, (i + "-" + k).getBytes(StandardCharsets.UTF_8)));
                }
                producer.flush();
                if (i % 2 == 0) producer.commitTransaction();
                else producer.abortTransaction();
            }
        }
    }

    /** Prints every value up to the end as this isolation level sees it. */
    private static void isolated(String bootstrap, String topic, String level) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("isolation.level", level);
        properties.put("enable.auto.commit", "false");
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(info -> new TopicPartition(topic, info.partition()))
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    System.out.println(new String(record.value(), StandardCharsets.UTF_8));
                }
            }
        }
    }

    /** Consume, transform, produce, exactly once, until killed. On any error it ends, and is started anew. */
    private static void transform(String bootstrap, String source, String target, String groupId, String transactionalId) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("group.id", groupId);
        properties.put("group.instance.id", "only");
        properties.put("enable.auto.commit", "false");
        properties.put("isolation.level", "read_committed");
        properties.put("auto.offset.reset", "earliest");
        properties.put("max.poll.records", "750");
        properties.put("session.timeout.ms", "30000");
        Properties sending = new Properties();
        sending.put("bootstrap.servers", bootstrap);
        sending.put("transactional.id", transactionalId);
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                KafkaProducer<byte[], byte[]> producer =
                        new KafkaProducer<>(sending, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            consumer.subscribe(List.of(source));
            while (true) {
                var records = consumer.poll(Duration.ofMillis(500));
                if (records.isEmpty()) continue;
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>();
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    byte[] value = ("out-" + new String(record.value(), StandardCharsets.UTF_8)).getBytes(StandardCharsets.UTF_8);
                    producer.send(new ProducerRecord<>(target, record.key(), value));
                    ends.put(new TopicPartition(source, record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(ends, consumer.groupMetadata());
                producer.commitTransaction();
            }
        }
    }

    private static void consume(String bootstrap, Path out, String topic) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        properties.put("fetch.max.wait.ms", "20");
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                BufferedWriter writer = Files.newBufferedWriter(out.resolve(topic + ".tsv"))) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(info -> new TopicPartition(topic, info.partition()))
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    StringBuilder headers = new StringBuilder();
                    for (Header header : record.headers()) {
                        if (headers.length() > 0) headers.append(';');
                        headers.append(header.key()).append('=').append(encode(header.value()));
                    }
                    writer.write(String.join("\t", String.valueOf(record.partition()), String.valueOf(record.offset()),
                            String.valueOf(record.timestamp()), encode(record.key()), encode(record.value()), headers));
                    writer.write('\n');
                }
            }
        }
    }
}
