package pykafkacore;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** One round of everything that an administrator does with the Java AdminClient; prints what came of each call. */
public final class AdminRound {
    private static Admin admin;

    interface Call {
        Object run() throws Exception;
    }

    private static void tell(String what, Call call) {
        try {
            System.out.println(what + ": " + call.run());
        } catch (ExecutionException error) {
            System.out.println(what + ": " + error.getCause().getClass().getSimpleName());
        } catch (Exception error) {
            System.out.println(what + ": " + error.getClass().getSimpleName());
        }
    }

    private static Object describe(String topic) throws Exception {
        TopicDescription told = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        return told.partitions().size() + " partitions, internal " + told.isInternal() + ", leader "
                + told.partitions().get(0).leader().id() + ", isr " + told.partitions().get(0).isr().size()
                + ", operations " + told.authorizedOperations();
    }

    private static Object configs(ConfigResource resource, String... names) throws Exception {
        Config config = admin.describeConfigs(List.of(resource),
                new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)).all().get().get(resource);
        TreeMap<String, String> told = new TreeMap<>();
        for (String name : names) {
            ConfigEntry entry = config.get(name);
            told.put(name, entry == null ? "absent" : entry.value() + " " + entry.source() + " " + entry.type() + " "
                    + entry.isReadOnly() + " " + entry.isSensitive() + " " + entry.synonyms().size());
        }
        return told + " of " + config.entries().size();
    }

    private static Object alter(ConfigResource resource, String name, String value, AlterConfigOp.OpType type)
            throws Exception {
        Collection<AlterConfigOp> ops = List.of(new AlterConfigOp(new ConfigEntry(name, value), type));
        admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
        return "done";
    }

    private static Object offset(String topic, OffsetSpec spec) throws Exception {
        var told = admin.listOffsets(Map.of(new TopicPartition(topic, 0), spec)).all().get().get(new TopicPartition(topic, 0));
        return told.offset() + " at " + told.timestamp() + " in epoch " + told.leaderEpoch();
    }

    public static void main(String[] args) throws Exception {
        String topic = args[1];
        admin = Admin.create(Map.of("bootstrap.servers", args[0]));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
        NewTopic wanted = new NewTopic(topic, Optional.of(2), Optional.empty()).configs(Map.of("retention.ms", "60000"));
        tell("validate", () -> admin.createTopics(List.of(wanted), new CreateTopicsOptions().validateOnly(true)).all().get());
        tell("create", () -> {
            var created = admin.createTopics(List.of(wanted));
            return created.numPartitions(topic).get() + " " + created.replicationFactor(topic).get() + " "
                    + created.config(topic).get().get("retention.ms").value();
        });
        tell("create again", () -> admin.createTopics(List.of(wanted)).all().get());
        tell("create badly named", () -> admin.createTopics(List.of(new NewTopic("a b", 1, (short) 1))).all().get());
        tell("create over-replicated", () -> admin.createTopics(List.of(new NewTopic("over", 1, (short) 3))).all().get());
        tell("create with a bad config", () -> admin.createTopics(
                List.of(new NewTopic("bad", 1, (short) 1).configs(Map.of("segment.bytes", "x")))).all().get());
        tell("create with an assignment", () -> admin.createTopics(
                List.of(new NewTopic(topic + "-manual", Map.of(0, List.of(1), 1, List.of(1))))).all().get());
        tell("list", () -> admin.listTopics().names().get().contains(topic));
        tell("describe", () -> describe(topic));
        tell("describe with operations", () -> admin.describeTopics(List.of(topic),
                new DescribeTopicsOptions().includeAuthorizedOperations(true))
                .allTopicNames().get().get(topic).authorizedOperations().stream().sorted().toList());
        tell("describe unknown", () -> describe("unknown"));
        tell("grow", () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all().get());
        tell("shrink", () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(1))).all().get());
        tell("topic configs", () -> configs(resource, "retention.ms", "segment.bytes", "cleanup.policy", "min.insync.replicas"));
        tell("broker configs", () -> configs(broker, "num.partitions", "log.retention.hours", "log.cleaner.threads", "node.id"));
        tell("set", () -> alter(resource, "segment.bytes", "2097152", AlterConfigOp.OpType.SET));
        tell("append", () -> alter(resource, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND));
        tell("set badly", () -> alter(resource, "segment.bytes", "1", AlterConfigOp.OpType.SET));
        tell("set unknown", () -> alter(resource, "no.such.key", "1", AlterConfigOp.OpType.SET));
        Thread.sleep(500);
        tell("topic configs after", () -> configs(resource, "retention.ms", "segment.bytes", "cleanup.policy"));
        tell("delete config", () -> alter(resource, "segment.bytes", "", AlterConfigOp.OpType.DELETE));
        Thread.sleep(500);
        tell("topic configs at last", () -> configs(resource, "segment.bytes"));
        tell("set broker config", () -> alter(broker, "log.cleaner.threads", "2", AlterConfigOp.OpType.SET));
        tell("set read-only broker config", () -> alter(broker, "node.id", "7", AlterConfigOp.OpType.SET));
        // Apache Kafka answers before its broker has taken a change over.
        Thread.sleep(1000);
        tell("broker configs after", () -> configs(broker, "log.cleaner.threads"));
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", args[0]), new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < 10; i++) {
                producer.send(new ProducerRecord<>(topic, 0, 1_700_000_000_000L + i, new byte[] {1}, new byte[] {2})).get();
            }
        }
        tell("latest", () -> offset(topic, OffsetSpec.latest()));
        tell("earliest", () -> offset(topic, OffsetSpec.earliest()));
        tell("max timestamp", () -> offset(topic, OffsetSpec.maxTimestamp()));
        tell("for timestamp", () -> offset(topic, OffsetSpec.forTimestamp(1_700_000_000_005L)));
        tell("after all timestamps", () -> offset(topic, OffsetSpec.forTimestamp(1_800_000_000_000L)));
        tell("earliest local", () -> offset(topic, OffsetSpec.earliestLocal()));
        tell("latest tiered", () -> offset(topic, OffsetSpec.latestTiered()));
        tell("producers", () -> admin.describeProducers(List.of(new TopicPartition(topic, 0))).all().get()
                .values().iterator().next().activeProducers().size());
        tell("delete records", () -> admin.deleteRecords(
                Map.of(new TopicPartition(topic, 0), RecordsToDelete.beforeOffset(4))).all().get());
        tell("earliest after", () -> offset(topic, OffsetSpec.earliest()));
        tell("delete too many records", () -> admin.deleteRecords(
                Map.of(new TopicPartition(topic, 0), RecordsToDelete.beforeOffset(400))).all().get());
        tell("log dirs", () -> admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1).values().iterator().next()
                .replicaInfos().containsKey(new TopicPartition(topic, 0)));
        tell("cluster", () -> admin.describeCluster().nodes().get().size() + " " + admin.describeCluster().controller().get().id());
        tell("features", () -> new TreeMap<>(admin.describeFeatures().featureMetadata().get().finalizedFeatures()).keySet());
        tell("quorum", () -> admin.describeMetadataQuorum().quorumInfo().get().voters().size());
        tell("config resources", () -> admin.listConfigResources().all().get().stream()
                .anyMatch(each -> each.name().equals(topic)));
        tell("delete", () -> admin.deleteTopics(List.of(topic, topic + "-manual")).all().get());
        tell("delete again", () -> admin.deleteTopics(List.of(topic)).all().get());
        admin.close();
        KafkaFuture.allOf().get();
    }
}
