"""THE TABLE of configs: every key of Apache Kafka 4.4 for brokers, topics and groups, with what makes a value valid.

What it is: facts, as text, parsed when first asked for (a few hundred short lines, well under a millisecond).
What it is not: parsing of values (values.py), resolution of layers (settings.py).

Columns: name, type, default (`null`, `""`, or `!` for none: the key must be given), valid values, importance, flags.
Valid values:
    1..  ..9  1..9  1..9|-1   bounds, both ends included, and maybe one more value
    one-of:a,b  nocase:a,b    a string from a list; nocase does not mind capitals
    any-of:a,b  some-of:a,b   a list of such strings; some-of may not be empty
    any  some                 a list of anything; some may not be empty
    not-null  not-empty       a string
    addresses  voters  replicas  offset-reset     forms of their own, see values.py
Flags: `dynamic` can be changed for the whole cluster or for one broker while running, `per-broker` only for one broker
at a time, `internal` is not shown by default, `unlisted` is not among Kafka's own listed keys, `broker=` names the broker
keys that a topic or group inherits from, the one that wins first.
"""

# ruff: noqa: E501 (rows of tables)

from __future__ import annotations

from functools import cache

from msgspec import Struct

REQUIRED = "!"

# Numbers of types in DescribeConfigs.
TYPE_NUMBERS = {
    "boolean": 1, "string": 2, "int": 3, "short": 4, "long": 5, "double": 6, "list": 7, "class": 8, "password": 9,
}  # fmt: skip

# What a coarser broker key counts in: log.retention.hours stands for this many milliseconds each.
MILLISECONDS_PER = {"hours": 3_600_000, "minutes": 60_000}

_BROKER = """
add.partitions.to.txn.retry.backoff.max.ms                  int      100        0..        high
add.partitions.to.txn.retry.backoff.ms                      int      20         1..        high
advertised.listeners                                        list     null       some       high
alter.config.policy.class.name                              class    null       -          low
alter.log.dirs.replication.quota.window.num                 int      11         1..        low
alter.log.dirs.replication.quota.window.size.seconds        int      1          1..        low
authorizer.class.name                                       string   ""         not-null   low
auto.create.topics.enable                                   boolean  true       -          high
auto.leader.rebalance.enable                                boolean  true       -          high
background.threads                                          int      10         1..        high   dynamic
broker.heartbeat.interval.ms                                int      2000       -          medium
broker.id                                                   int      -1         -          high
broker.rack                                                 string   null       -          medium
broker.session.timeout.ms                                   int      9000       -          medium
client.quota.callback.class                                 class    null       -          low
compression.gzip.level                                      int      -1         1..9|-1    medium dynamic
compression.lz4.level                                       int      9          1..17      medium dynamic
compression.type                                            string   producer   one-of:uncompressed,zstd,lz4,snappy,gzip,producer high   dynamic
compression.zstd.level                                      int      3          -131072..22 medium dynamic
config.providers                                            list     ""         any        low    dynamic
connection.failed.authentication.delay.ms                   int      100        0..        low
connections.max.idle.ms                                     long     600000     -          medium
connections.max.reauth.ms                                   long     0          -          medium
controlled.shutdown.enable                                  boolean  true       -          medium
controller.listener.names                                   list     !          some       high
controller.performance.always.log.threshold.ms              long     2000       0..        medium internal
controller.performance.sample.period.ms                     long     60000      100..      medium internal
controller.quorum.append.linger.ms                          int      25         0..        medium
controller.quorum.auto.join.enable                          boolean  false      -          low
controller.quorum.bootstrap.servers                         list     ""         addresses  high
controller.quorum.election.backoff.max.ms                   int      1000       0..        high
controller.quorum.election.timeout.ms                       int      1000       0..        high
controller.quorum.fetch.max.bytes                           int      1048576    1..        low
controller.quorum.fetch.snapshot.max.bytes                  int      1048576    1..        low
controller.quorum.fetch.timeout.ms                          int      2000       0..        high
controller.quorum.request.timeout.ms                        int      2000       0..        medium
controller.quorum.retry.backoff.ms                          int      20         0..        low
controller.quorum.voters                                    list     ""         voters     high
controller.quota.window.num                                 int      11         1..        low
controller.quota.window.size.seconds                        int      1          1..        low
controller.socket.timeout.ms                                int      30000      -          medium
cordoned.log.dirs                                           list     ""         any        medium per-broker
create.topic.policy.class.name                              class    null       -          low
default.replication.factor                                  int      1          -          medium
delegation.token.expiry.check.interval.ms                   long     3600000    1..        low
delegation.token.expiry.time.ms                             long     86400000   1..        medium
delegation.token.max.lifetime.ms                            long     604800000  1..        medium
delegation.token.secret.key                                 password null       -          medium
delete.records.purgatory.purge.interval.requests            int      1          -          medium
delete.topic.enable                                         boolean  true       -          high
early.start.listeners                                       list     null       any        high
errors.deadletterqueue.auto.create.topics.enable            boolean  false      -          medium dynamic
errors.deadletterqueue.topic.name.prefix                    string   dlq.       -          medium dynamic
fetch.max.bytes                                             int      57671680   1024..     medium
fetch.purgatory.purge.interval.requests                     int      1000       -          medium
follower.fetch.last.tiered.offset.enable                    boolean  false      -          medium dynamic
follower.replication.throttled.rate                         long     9223372036854775807 0..        medium dynamic unlisted
group.consumer.assignment.interval.ms                       int      1000       0..        medium dynamic
group.consumer.assignor.offload.enable                      boolean  true       -          medium dynamic internal
group.consumer.assignors                                    list     uniform,range some       medium
group.consumer.heartbeat.interval.ms                        int      5000       1..        medium
group.consumer.max.assignment.interval.ms                   int      15000      0..        medium
group.consumer.max.heartbeat.interval.ms                    int      15000      1..        medium
group.consumer.max.session.timeout.ms                       int      60000      1..        medium
group.consumer.max.size                                     int      2147483647 1..        medium
group.consumer.migration.policy                             string   bidirectional nocase:DISABLED,DOWNGRADE,UPGRADE,BIDIRECTIONAL medium
group.consumer.min.assignment.interval.ms                   int      0          0..        medium
group.consumer.min.heartbeat.interval.ms                    int      5000       1..        medium
group.consumer.min.session.timeout.ms                       int      45000      1..        medium
group.consumer.regex.refresh.interval.ms                    int      600000     10000..    medium internal
group.consumer.session.timeout.ms                           int      45000      1..        medium
group.coordinator.append.linger.ms                          int      -1         -1..       medium
group.coordinator.background.threads                        int      2          1..        high
group.coordinator.cached.buffer.max.bytes                   int      1048588    524288..   medium dynamic
group.coordinator.rebalance.protocols                       list     classic,consumer,streams some-of:consumer,classic,share,streams medium
group.coordinator.threads                                   int      4          1..        high
group.initial.rebalance.delay.ms                            int      3000       -          medium
group.max.session.timeout.ms                                int      1800000    -          medium
group.max.size                                              int      2147483647 1..        medium
group.min.session.timeout.ms                                int      6000       -          medium
group.share.assignment.interval.ms                          int      1000       0..        medium dynamic
group.share.assignor.offload.enable                         boolean  true       -          medium dynamic internal
group.share.assignors                                       list     simple     some       medium
group.share.delivery.count.limit                            int      5          2..10      medium
group.share.dlq.manager.class.name                          string   org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager -          medium internal
group.share.heartbeat.interval.ms                           int      5000       1..        medium
group.share.initialize.retry.interval.ms                    int      30000      1..        low    internal
group.share.max.assignment.interval.ms                      int      15000      0..        medium
group.share.max.delivery.count.limit                        int      10         5..25      medium
group.share.max.heartbeat.interval.ms                       int      15000      1..        medium
group.share.max.partition.max.record.locks                  int      4000       2000..10000 medium
group.share.max.record.lock.duration.ms                     int      60000      30000..3600000 medium
group.share.max.session.timeout.ms                          int      60000      1..        medium
group.share.max.share.sessions                              int      2000       1..        medium
group.share.max.size                                        int      200        1..1000    medium
group.share.min.assignment.interval.ms                      int      0          0..        medium
group.share.min.delivery.count.limit                        int      2          2..5       medium
group.share.min.heartbeat.interval.ms                       int      5000       1..        medium
group.share.min.partition.max.record.locks                  int      100        100..2000  medium
group.share.min.record.lock.duration.ms                     int      15000      1000..30000 medium
group.share.min.session.timeout.ms                          int      45000      1..        medium
group.share.partition.max.record.locks                      int      2000       100..10000 medium
group.share.persister.class.name                            string   org.apache.kafka.server.share.persister.DefaultStatePersister -          medium internal
group.share.record.lock.duration.ms                         int      30000      1000..3600000 medium
group.share.session.timeout.ms                              int      45000      1..        medium
group.streams.acceptable.recovery.lag                       long     10000      0..        medium internal
group.streams.assignment.interval.ms                        int      1000       0..        medium dynamic
group.streams.assignor.offload.enable                       boolean  true       -          medium dynamic internal
group.streams.assignors                                     list     sticky     some       medium
group.streams.heartbeat.interval.ms                         int      5000       1..        medium
group.streams.initial.rebalance.delay.ms                    int      3000       0..        medium
group.streams.max.assignment.interval.ms                    int      15000      0..        medium
group.streams.max.heartbeat.interval.ms                     int      15000      1..        medium
group.streams.max.session.timeout.ms                        int      60000      1..        medium
group.streams.max.size                                      int      2147483647 1..        medium
group.streams.max.standby.replicas                          int      2          0..        medium
group.streams.max.warmup.replicas                           int      20         0..        medium internal
group.streams.min.assignment.interval.ms                    int      0          0..        medium
group.streams.min.heartbeat.interval.ms                     int      5000       1..        medium
group.streams.min.session.timeout.ms                        int      45000      1..        medium
group.streams.min.task.offset.interval.ms                   int      15000      1..        medium internal
group.streams.num.standby.replicas                          int      0          0..        medium
group.streams.num.warmup.replicas                           int      2          0..        medium internal
group.streams.rack.aware.assignment.tags                    list     ""         any        low
group.streams.session.timeout.ms                            int      45000      1..        medium
group.streams.task.offset.interval.ms                       int      60000      1..        medium internal
group.streams.topology.description.plugin.class             class    null       -          medium
initial.broker.registration.timeout.ms                      int      60000      -          medium
inter.broker.listener.name                                  string   null       -          medium
internal.metadata.delete.delay.millis                       long     60000      -          low    internal
internal.metadata.log.segment.bytes                         int      null       -          low    internal
internal.metadata.max.batch.size.in.bytes                   int      8388608    -          low    internal
kafka.metrics.polling.interval.secs                         int      10         1..        low
kafka.metrics.reporters                                     list     ""         any        low
leader.imbalance.check.interval.seconds                     long     300        1..        high
leader.replication.throttled.rate                           long     9223372036854775807 0..        medium dynamic unlisted
listener.security.protocol.map                              string   SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT -          low    per-broker
listeners                                                   list     PLAINTEXT://:9092 some       high   per-broker
log.cleaner.backoff.ms                                      long     15000      0..        medium dynamic
log.cleaner.dedupe.buffer.size                              long     134217728  -          medium dynamic
log.cleaner.delete.retention.ms                             long     86400000   0..        medium dynamic
log.cleaner.enable                                          boolean  true       -          medium
log.cleaner.io.buffer.load.factor                           double   0.9        -          medium dynamic
log.cleaner.io.buffer.size                                  int      524288     0..        medium dynamic
log.cleaner.io.max.bytes.per.second                         double   1.7976931348623157E308 -          medium dynamic
log.cleaner.max.compaction.lag.ms                           long     9223372036854775807 1..        medium dynamic
log.cleaner.min.cleanable.ratio                             double   0.5        0..1       medium dynamic
log.cleaner.min.compaction.lag.ms                           long     0          0..        medium dynamic
log.cleaner.threads                                         int      1          0..        medium dynamic
log.cleanup.policy                                          list     delete     any-of:compact,delete medium dynamic
log.dir                                                     list     /tmp/kafka-logs some       high
log.dir.failure.timeout.ms                                  long     30000      1..        low
log.dirs                                                    list     null       some       high
log.flush.interval.messages                                 long     9223372036854775807 1..        high   dynamic
log.flush.interval.ms                                       long     null       -          high   dynamic
log.flush.offset.checkpoint.interval.ms                     int      60000      0..        high
log.flush.scheduler.interval.ms                             long     9223372036854775807 -          high
log.flush.start.offset.checkpoint.interval.ms               int      60000      0..        high
log.index.interval.bytes                                    int      4096       0..        medium dynamic
log.index.size.max.bytes                                    int      10485760   4..        medium dynamic
log.initial.task.delay.ms                                   long     30000      0..        low    internal
log.local.retention.bytes                                   long     -2         -2..       medium dynamic
log.local.retention.ms                                      long     -2         -2..       medium dynamic
log.message.timestamp.after.max.ms                          long     3600000    0..        medium dynamic
log.message.timestamp.before.max.ms                         long     9223372036854775807 0..        medium dynamic
log.message.timestamp.type                                  string   CreateTime one-of:CreateTime,LogAppendTime medium dynamic
log.preallocate                                             boolean  false      -          medium dynamic
log.remote.copy.lag.bytes                                   long     -1         -1..       medium dynamic
log.remote.copy.lag.ms                                      long     0          -1..       medium dynamic
log.reserve.bytes                                           long     10485760   0..        low    dynamic unlisted
log.retention.bytes                                         long     -1         -          high   dynamic
log.retention.check.interval.ms                             long     300000     1..        medium
log.retention.hours                                         int      168        -          high
log.retention.minutes                                       int      null       -          high
log.retention.ms                                            long     null       -          high   dynamic
log.roll.hours                                              int      168        1..        high
log.roll.jitter.hours                                       int      0          0..        high
log.roll.jitter.ms                                          long     null       -          high   dynamic
log.roll.ms                                                 long     null       -          high   dynamic
log.scrub.bytes.per.second                                  long     1048576    0..        low    dynamic unlisted
log.segment.bytes                                           int      1073741824 1048576..  high   dynamic
log.segment.delete.delay.ms                                 long     60000      0..        high   dynamic
max.connection.creation.rate                                int      2147483647 0..        medium dynamic
max.connections                                             int      2147483647 0..        medium dynamic
max.connections.per.ip                                      int      2147483647 0..        medium dynamic
max.connections.per.ip.overrides                            string   ""         -          medium dynamic
max.decompressed.message.bytes                              int      2147483639 1..2147483639 medium dynamic
max.incremental.fetch.session.cache.slots                   int      1000       0..        medium
max.request.partition.size.limit                            int      2000       1..        medium
message.max.bytes                                           int      1048588    0..        high   dynamic
metadata.log.dir                                            string   null       -          high
metadata.log.max.record.bytes.between.snapshots             long     20971520   1..        high
metadata.log.max.snapshot.interval.ms                       long     3600000    0..        high
metadata.log.segment.bytes                                  int      1073741824 8388608..  high
metadata.log.segment.ms                                     long     604800000  -          high
metadata.max.idle.interval.ms                               int      500        0..        low
metadata.max.retention.bytes                                long     104857600  -          high
metadata.max.retention.ms                                   long     604800000  -          high
metric.reporters                                            list     org.apache.kafka.common.metrics.JmxReporter any        low    dynamic
metrics.num.samples                                         int      2          1..        low
metrics.recording.level                                     string   INFO       -          low
metrics.sample.window.ms                                    long     30000      1..        low
min.insync.replicas                                         int      1          1..        high   dynamic
node.id                                                     int      !          0..        high
num.io.threads                                              int      8          1..        high   dynamic
num.network.threads                                         int      3          1..        high   dynamic
num.partitions                                              int      1          1..        medium
num.recovery.threads.per.data.dir                           int      2          1..        high   dynamic
num.replica.alter.log.dirs.threads                          int      null       -          high
num.replica.fetchers                                        int      1          1..        high   dynamic
offset.metadata.max.bytes                                   int      4096       -          high
offsets.commit.timeout.ms                                   int      5000       1..        high
offsets.load.buffer.size                                    int      5242880    1..        high
offsets.retention.check.interval.ms                         long     600000     1..        high
offsets.retention.minutes                                   int      10080      1..        high
offsets.topic.compression.codec                             int      0          -          high
offsets.topic.num.partitions                                int      50         1..        high
offsets.topic.replication.factor                            short    3          1..        high
offsets.topic.segment.bytes                                 int      104857600  1..        high
principal.builder.class                                     class    org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder -          medium per-broker
process.roles                                               list     !          some-of:broker,controller high
producer.id.expiration.check.interval.ms                    int      600000     1..        low    internal
producer.id.expiration.ms                                   int      86400000   1..        low    dynamic
producer.purgatory.purge.interval.requests                  int      1000       -          medium
queued.max.request.bytes                                    long     -1         -          medium
queued.max.requests                                         int      500        1..        high
quota.window.num                                            int      11         1..        low
quota.window.size.seconds                                   int      1          1..        low
remote.fetch.max.wait.ms                                    int      500        1..        medium dynamic
remote.list.offsets.request.timeout.ms                      long     30000      1..        medium dynamic
remote.log.index.file.cache.total.size.bytes                long     1073741824 1..        low    dynamic
remote.log.index.file.cache.ttl.ms                          long     900000     -1..       low    internal
remote.log.manager.copier.thread.pool.size                  int      10         1..        medium dynamic
remote.log.manager.copy.max.bytes.per.second                long     9223372036854775807 1..        medium dynamic
remote.log.manager.copy.quota.window.num                    int      11         1..        medium
remote.log.manager.copy.quota.window.size.seconds           int      1          1..        medium
remote.log.manager.expiration.thread.pool.size              int      10         1..        medium dynamic
remote.log.manager.fetch.max.bytes.per.second               long     9223372036854775807 1..        medium dynamic
remote.log.manager.fetch.quota.window.num                   int      11         1..        medium
remote.log.manager.fetch.quota.window.size.seconds          int      1          1..        medium
remote.log.manager.follower.thread.pool.size                int      2          1..        medium dynamic
remote.log.manager.task.interval.ms                         long     30000      1..        low
remote.log.manager.task.retry.backoff.max.ms                long     30000      1..        low    internal
remote.log.manager.task.retry.backoff.ms                    long     500        1..        low    internal
remote.log.manager.task.retry.jitter                        double   0.2        0..0.5     low    internal
remote.log.manager.thread.pool.size                         int      2          1..        medium
remote.log.metadata.custom.metadata.max.bytes               int      128        0..        low
remote.log.metadata.manager.class.name                      string   org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager not-empty  medium
remote.log.metadata.manager.class.path                      string   null       -          medium
remote.log.metadata.manager.impl.prefix                     string   rlmm.config. not-empty  medium
remote.log.metadata.manager.listener.name                   string   null       not-empty  medium
remote.log.reader.max.pending.tasks                         int      100        1..        medium
remote.log.reader.threads                                   int      10         1..        medium dynamic
remote.log.storage.manager.class.name                       string   null       not-empty  medium
remote.log.storage.manager.class.path                       string   null       -          medium
remote.log.storage.manager.impl.prefix                      string   rsm.config. not-empty  medium
remote.log.storage.system.enable                            boolean  false      -          medium
replica.alter.log.dirs.io.max.bytes.per.second              long     9223372036854775807 0..        medium dynamic unlisted
replica.fetch.backoff.ms                                    int      1000       0..        medium
replica.fetch.max.bytes                                     int      1048576    0..        medium
replica.fetch.min.bytes                                     int      1          -          high
replica.fetch.response.max.bytes                            int      10485760   0..        medium
replica.fetch.wait.max.ms                                   int      500        -          high
replica.high.watermark.checkpoint.interval.ms               long     5000       -          high
replica.lag.time.max.ms                                     long     30000      -          high
replica.selector.class                                      string   null       -          medium
replica.socket.receive.buffer.bytes                         int      65536      -          high
replica.socket.timeout.ms                                   int      30000      -          high
replication.quota.window.num                                int      11         1..        low
replication.quota.window.size.seconds                       int      1          1..        low
request.timeout.ms                                          int      30000      -          high
sasl.client.callback.handler.class                          class    null       -          medium
sasl.enabled.mechanisms                                     list     GSSAPI     any        medium per-broker
sasl.jaas.config                                            password null       -          medium per-broker
sasl.kerberos.kinit.cmd                                     string   /usr/bin/kinit -          medium per-broker
sasl.kerberos.min.time.before.relogin                       long     60000      -          medium per-broker
sasl.kerberos.principal.to.local.rules                      list     DEFAULT    any        medium per-broker
sasl.kerberos.service.name                                  string   null       -          medium per-broker
sasl.kerberos.ticket.renew.jitter                           double   0.05       -          medium per-broker
sasl.kerberos.ticket.renew.window.factor                    double   0.8        -          medium per-broker
sasl.login.callback.handler.class                           class    null       -          medium
sasl.login.class                                            class    null       -          medium
sasl.login.connect.timeout.ms                               int      null       -          low
sasl.login.read.timeout.ms                                  int      null       -          low
sasl.login.refresh.buffer.seconds                           short    300        -          medium per-broker
sasl.login.refresh.min.period.seconds                       short    60         -          medium per-broker
sasl.login.refresh.window.factor                            double   0.8        -          medium per-broker
sasl.login.refresh.window.jitter                            double   0.05       -          medium per-broker
sasl.login.retry.backoff.max.ms                             long     10000      -          low
sasl.login.retry.backoff.ms                                 long     100        -          low
sasl.mechanism.controller.protocol                          string   GSSAPI     -          high
sasl.mechanism.inter.broker.protocol                        string   GSSAPI     -          medium per-broker
sasl.oauthbearer.allow.unverified.audience                  boolean  false      -          medium
sasl.oauthbearer.allow.unverified.issuer                    boolean  false      -          medium
sasl.oauthbearer.assertion.algorithm                        string   RS256      nocase:ES256,RS256 medium
sasl.oauthbearer.assertion.claim.aud                        string   null       -          medium
sasl.oauthbearer.assertion.claim.exp.seconds                int      300        0..86400   low
sasl.oauthbearer.assertion.claim.iss                        string   null       -          medium
sasl.oauthbearer.assertion.claim.jti.include                boolean  false      -          medium
sasl.oauthbearer.assertion.claim.nbf.seconds                int      60         0..3600    low
sasl.oauthbearer.assertion.claim.sub                        string   null       -          medium
sasl.oauthbearer.assertion.file                             string   null       -          medium
sasl.oauthbearer.assertion.private.key.file                 string   null       -          medium
sasl.oauthbearer.assertion.private.key.passphrase           password null       -          medium
sasl.oauthbearer.assertion.template.file                    string   null       -          medium
sasl.oauthbearer.client.credentials.client.id               string   null       -          medium
sasl.oauthbearer.client.credentials.client.secret           password null       -          medium
sasl.oauthbearer.clock.skew.seconds                         int      30         -          low
sasl.oauthbearer.expected.audience                          list     ""         any        high
sasl.oauthbearer.expected.issuer                            string   null       -          high
sasl.oauthbearer.jwks.endpoint.refresh.ms                   long     3600000    -          low
sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms         long     10000      -          low
sasl.oauthbearer.jwks.endpoint.retry.backoff.ms             long     100        -          low
sasl.oauthbearer.jwks.endpoint.url                          string   null       -          medium
sasl.oauthbearer.jwt.retriever.class                        class    org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever -          medium
sasl.oauthbearer.jwt.validator.class                        class    org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator -          medium
sasl.oauthbearer.scope                                      string   null       -          medium
sasl.oauthbearer.scope.claim.name                           string   scope      -          low
sasl.oauthbearer.sub.claim.name                             string   sub        -          low
sasl.oauthbearer.token.endpoint.url                         string   null       -          medium
sasl.server.callback.handler.class                          class    null       -          medium
sasl.server.max.receive.size                                int      524288     -          medium
security.inter.broker.protocol                              string   PLAINTEXT  one-of:PLAINTEXT,SSL,SASL_PLAINTEXT,SASL_SSL medium
security.providers                                          string   null       -          low
server.max.startup.time.ms                                  long     9223372036854775807 0..        medium internal
share.coordinator.append.linger.ms                          int      -1         -1..       medium
share.coordinator.cached.buffer.max.bytes                   int      1048588    524288..   medium dynamic
share.coordinator.cold.partition.snapshot.interval.ms       int      300000     1..        low    internal
share.coordinator.load.buffer.size                          int      5242880    1..        high
share.coordinator.snapshot.update.records.per.snapshot      int      500        0..500     medium
share.coordinator.state.topic.compression.codec             int      0          -          high
share.coordinator.state.topic.min.isr                       short    2          1..        high
share.coordinator.state.topic.num.partitions                int      50         1..        high
share.coordinator.state.topic.prune.interval.ms             int      300000     1..        low    internal
share.coordinator.state.topic.replication.factor            short    3          1..        high
share.coordinator.state.topic.segment.bytes                 int      104857600  1..        high
share.coordinator.threads                                   int      1          1..        medium
share.coordinator.write.timeout.ms                          int      5000       1..        high
share.fetch.purgatory.purge.interval.requests               int      1000       -          medium
socket.connection.setup.timeout.max.ms                      long     30000      -          medium
socket.connection.setup.timeout.ms                          long     10000      -          medium
socket.listen.backlog.size                                  int      50         1..        medium
socket.receive.buffer.bytes                                 int      102400     -          high
socket.request.max.bytes                                    int      104857600  1..        high
socket.send.buffer.bytes                                    int      102400     -          high
ssl.allow.dn.changes                                        boolean  false      -          low
ssl.allow.san.changes                                       boolean  false      -          low
ssl.cipher.suites                                           list     ""         any        medium per-broker
ssl.client.auth                                             string   none       one-of:required,requested,none medium per-broker
ssl.enabled.protocols                                       list     TLSv1.2,TLSv1.3 any        medium per-broker
ssl.endpoint.identification.algorithm                       string   https      -          low    per-broker
ssl.engine.factory.class                                    class    null       -          low    per-broker
ssl.key.password                                            password null       -          medium per-broker
ssl.keymanager.algorithm                                    string   SunX509    -          medium per-broker
ssl.keystore.certificate.chain                              password null       -          medium per-broker
ssl.keystore.key                                            password null       -          medium per-broker
ssl.keystore.location                                       string   null       -          medium per-broker
ssl.keystore.password                                       password null       -          medium per-broker
ssl.keystore.type                                           string   JKS        -          medium per-broker
ssl.principal.mapping.rules                                 string   DEFAULT    -          low
ssl.protocol                                                string   TLSv1.3    -          medium per-broker
ssl.provider                                                string   null       -          medium per-broker
ssl.secure.random.implementation                            string   null       -          low    per-broker
ssl.trustmanager.algorithm                                  string   PKIX       -          medium per-broker
ssl.truststore.certificates                                 password null       -          medium per-broker
ssl.truststore.location                                     string   null       -          medium per-broker
ssl.truststore.password                                     password null       -          medium per-broker
ssl.truststore.type                                         string   JKS        -          medium per-broker
telemetry.max.bytes                                         int      1048576    1..        low
transaction.abort.timed.out.transaction.cleanup.interval.ms int      10000      1..        low
transaction.max.timeout.ms                                  int      900000     1..        high
transaction.partition.verification.enable                   boolean  true       -          low    dynamic
transaction.remove.expired.transaction.cleanup.interval.ms  int      3600000    1..        low
transaction.state.log.load.buffer.size                      int      5242880    1..        high
transaction.state.log.min.isr                               int      2          1..        high
transaction.state.log.num.partitions                        int      50         1..        high
transaction.state.log.replication.factor                    short    3          1..        high
transaction.state.log.segment.bytes                         int      104857600  1..        high
transaction.two.phase.commit.enable                         boolean  false      -          low
transactional.id.expiration.ms                              int      604800000  1..        high
unclean.leader.election.enable                              boolean  false      -          high   dynamic
unclean.leader.election.interval.ms                         long     300000     1..        medium internal
unstable.api.versions.enable                                boolean  false      -          high   internal
unstable.feature.versions.enable                            boolean  false      -          high   internal
"""

_TOPIC = """
cleanup.policy                          list    delete     any-of:compact,delete medium broker=log.cleanup.policy
compression.gzip.level                  int     -1         1..9|-1    medium broker=compression.gzip.level
compression.lz4.level                   int     9          1..17      medium broker=compression.lz4.level
compression.type                        string  producer   one-of:uncompressed,zstd,lz4,snappy,gzip,producer medium broker=compression.type
compression.zstd.level                  int     3          -131072..22 medium broker=compression.zstd.level
delete.retention.ms                     long    86400000   0..        medium broker=log.cleaner.delete.retention.ms
errors.deadletterqueue.group.enable     boolean false      -          medium
file.delete.delay.ms                    long    60000      0..        medium broker=log.segment.delete.delay.ms
flush.messages                          long    9223372036854775807 1..        medium broker=log.flush.interval.messages
flush.ms                                long    9223372036854775807 0..        medium broker=log.flush.interval.ms,log.flush.scheduler.interval.ms
follower.replication.throttled.replicas list    ""         replicas   medium
index.interval.bytes                    int     4096       0..        medium broker=log.index.interval.bytes
internal.segment.bytes                  int     null       -          medium internal
leader.replication.throttled.replicas   list    ""         replicas   medium
local.retention.bytes                   long    -2         -2..       medium broker=log.local.retention.bytes
local.retention.ms                      long    -2         -2..       medium broker=log.local.retention.ms
max.compaction.lag.ms                   long    9223372036854775807 1..        medium broker=log.cleaner.max.compaction.lag.ms
max.decompressed.message.bytes          int     2147483639 1..2147483639 medium broker=max.decompressed.message.bytes
max.message.bytes                       int     1048588    0..        medium broker=message.max.bytes
message.timestamp.after.max.ms          long    3600000    0..        medium broker=log.message.timestamp.after.max.ms
message.timestamp.before.max.ms         long    9223372036854775807 0..        medium broker=log.message.timestamp.before.max.ms
message.timestamp.type                  string  CreateTime one-of:CreateTime,LogAppendTime medium broker=log.message.timestamp.type
min.cleanable.dirty.ratio               double  0.5        0..1       medium broker=log.cleaner.min.cleanable.ratio
min.compaction.lag.ms                   long    0          0..        medium broker=log.cleaner.min.compaction.lag.ms
min.insync.replicas                     int     1          1..        medium broker=min.insync.replicas
preallocate                             boolean false      -          medium broker=log.preallocate
remote.copy.lag.bytes                   long    -1         -1..       medium broker=log.remote.copy.lag.bytes
remote.copy.lag.ms                      long    0          -1..       medium broker=log.remote.copy.lag.ms
remote.log.copy.disable                 boolean false      -          medium
remote.log.delete.on.disable            boolean false      -          medium
remote.storage.enable                   boolean false      -          medium
retention.bytes                         long    -1         -          medium broker=log.retention.bytes
retention.ms                            long    604800000  -1..       medium broker=log.retention.ms,log.retention.minutes,log.retention.hours
segment.bytes                           int     1073741824 1048576..  medium broker=log.segment.bytes
segment.index.bytes                     int     10485760   4..        medium broker=log.index.size.max.bytes
segment.jitter.ms                       long    0          0..        medium broker=log.roll.jitter.ms,log.roll.jitter.hours
segment.ms                              long    604800000  1..        medium broker=log.roll.ms,log.roll.hours
unclean.leader.election.enable          boolean false      -          medium broker=unclean.leader.election.enable
"""

_GROUP = """
consumer.assignment.interval.ms           int     1000       0..        medium broker=group.consumer.assignment.interval.ms
consumer.assignor.offload.enable          boolean true       -          medium internal broker=group.consumer.assignor.offload.enable
consumer.heartbeat.interval.ms            int     5000       1..        medium broker=group.consumer.heartbeat.interval.ms
consumer.session.timeout.ms               int     45000      1..        medium broker=group.consumer.session.timeout.ms
errors.deadletterqueue.copy.record.enable boolean false      -          medium
errors.deadletterqueue.topic.name         string  ""         -          medium
share.assignment.interval.ms              int     1000       0..        medium broker=group.share.assignment.interval.ms
share.assignor.offload.enable             boolean true       -          medium internal broker=group.share.assignor.offload.enable
share.auto.offset.reset                   string  latest     offset-reset medium
share.delivery.count.limit                int     5          2..        medium broker=group.share.delivery.count.limit
share.heartbeat.interval.ms               int     5000       1..        medium broker=group.share.heartbeat.interval.ms
share.isolation.level                     string  read_uncommitted one-of:read_committed,read_uncommitted medium
share.partition.max.record.locks          int     2000       100..      medium broker=group.share.partition.max.record.locks
share.record.lock.duration.ms             int     30000      1000..     medium broker=group.share.record.lock.duration.ms
share.renew.acknowledge.enable            boolean true       -          medium
share.session.timeout.ms                  int     45000      1..        medium broker=group.share.session.timeout.ms
streams.acceptable.recovery.lag           long    10000      0..        medium internal broker=group.streams.acceptable.recovery.lag
streams.assignment.interval.ms            int     1000       0..        medium broker=group.streams.assignment.interval.ms
streams.assignor.name                     string  null       -          medium broker=group.streams.assignors
streams.assignor.offload.enable           boolean true       -          medium internal broker=group.streams.assignor.offload.enable
streams.heartbeat.interval.ms             int     5000       1..        medium broker=group.streams.heartbeat.interval.ms
streams.initial.rebalance.delay.ms        int     3000       0..        medium broker=group.streams.initial.rebalance.delay.ms
streams.num.standby.replicas              int     0          0..        medium broker=group.streams.num.standby.replicas
streams.num.warmup.replicas               int     2          0..        medium internal broker=group.streams.num.warmup.replicas
streams.rack.aware.assignment.tags        list    ""         any        low    broker=group.streams.rack.aware.assignment.tags
streams.session.timeout.ms                int     45000      1..        medium broker=group.streams.session.timeout.ms
streams.task.offset.interval.ms           int     60000      1..        medium internal broker=group.streams.task.offset.interval.ms
"""

_DOCUMENTATION = """
advertised.listeners: Addresses told to clients and other brokers; `listeners` when left out.
alter.config.policy.class.name: Dotted path of a class that may refuse changes of configs.
authorizer.class.name: Dotted path of the class that decides who may do what; empty means everybody everything.
auto.create.topics.enable: Whether asking for an unknown topic creates it.
auto.leader.rebalance.enable: Whether leadership is moved back to preferred replicas now and then.
broker.heartbeat.interval.ms: How often a broker tells the active controller that it lives.
broker.rack: Where this broker stands; replicas are spread over racks.
broker.session.timeout.ms: How long without a heartbeat until the controller fences a broker.
compression.type: Codec that batches are stored in; `producer` keeps what the producer chose.
connections.max.idle.ms: Connections without a request for this long are closed.
controller.listener.names: Names of the listeners that controllers use; the first one is how brokers reach them.
controller.quorum.bootstrap.servers: host:port of controllers to ask for the leader of the quorum.
controller.quorum.election.timeout.ms: Wait without a leader before a voter stands for election.
controller.quorum.fetch.timeout.ms: Wait without a successful fetch before a follower gives up on its leader.
controller.quorum.voters: The fixed voters as id@host:port; left empty when voters are kept in the log.
create.topic.policy.class.name: Dotted path of a class that may refuse the creation of topics.
default.replication.factor: Replicas of a topic created without saying how many.
delete.topic.enable: Whether topics can be deleted at all.
fetch.max.bytes: Upper bound on the size of one fetch response.
group.consumer.assignors: Assignors for the consumer protocol by name or dotted path; the first is the default.
group.consumer.session.timeout.ms: Silence after which a member of a consumer group is taken for dead.
group.coordinator.rebalance.protocols: Group protocols that are switched on.
group.initial.rebalance.delay.ms: How long a new classic group waits for more members before its first assignment.
group.max.session.timeout.ms: Longest session timeout that a classic member may ask for.
group.min.session.timeout.ms: Shortest session timeout that a classic member may ask for.
inter.broker.listener.name: The listener that brokers use among themselves.
leader.imbalance.check.interval.seconds: How often the controller looks for leaders that are not the preferred ones.
listener.security.protocol.map: Security protocol of every listener name.
listeners: Where to accept connections, as NAME://host:port; an empty host means all interfaces, port 0 any port.
log.cleaner.enable: Whether compaction runs.
log.cleanup.policy: What happens to old segments: delete, compact, or both.
log.dir: Where data lies, unless `log.dirs` says otherwise.
log.dirs: Directories for data; partitions are spread over them.
log.flush.interval.messages: Records after which a partition is forced to disk.
log.flush.interval.ms: Time after which a partition is forced to disk.
log.index.interval.bytes: Bytes of log between two entries of an index.
log.message.timestamp.after.max.ms: How far ahead of the broker's clock a record may be.
log.message.timestamp.before.max.ms: How far behind the broker's clock a record may be.
log.message.timestamp.type: Whether records carry the time of their creation or of their append.
log.preallocate: Whether new segments take their full size on disk at once.
log.reserve.bytes: With less room than this left under a log directory, clients may write nothing there, and reads go on; 0 for no reserve. Only here, not in Apache Kafka.
log.retention.bytes: Size of a partition above which old segments go; -1 for no limit.
log.retention.hours: Age in hours after which segments go; the two finer keys take precedence.
log.retention.minutes: Age in minutes after which segments go; takes precedence over hours.
log.retention.ms: Age after which segments go; -1 for never.
log.roll.hours: Age in hours at which a new segment is begun.
log.roll.ms: Age at which a new segment is begun.
log.scrub.bytes.per.second: How fast sealed segments are read to see that they are still what was written; 0 for never. Only here, not in Apache Kafka.
log.segment.bytes: Size at which a new segment is begun.
log.segment.delete.delay.ms: How long files of deleted segments stay on disk.
max.connections: Connections that this broker accepts in all.
max.connections.per.ip: Connections that this broker accepts from one address.
max.incremental.fetch.session.cache.slots: How many fetch sessions are remembered.
message.max.bytes: Largest batch that is accepted, as it arrives.
metadata.log.dir: Where the metadata log lies; the first log directory when left out.
metadata.log.max.record.bytes.between.snapshots: Bytes of metadata log after which a snapshot is made.
metadata.log.max.snapshot.interval.ms: Time after which a snapshot of the metadata is made.
metadata.max.idle.interval.ms: How often an idle active controller writes a no-op; 0 for never.
min.insync.replicas: Replicas that must be in sync for writes with acks=all.
node.id: The number of this node, unique in the cluster.
num.network.threads: Event-loop threads of the data plane.
num.partitions: Partitions of a topic created without saying how many.
num.replica.fetchers: Fetching connections per source broker.
offset.metadata.max.bytes: Longest note that may be stored with a committed offset.
offsets.retention.minutes: How long offsets of an empty group are kept.
offsets.topic.num.partitions: Partitions of the topic that holds committed offsets.
offsets.topic.replication.factor: Replicas of the topic that holds committed offsets.
principal.builder.class: Dotted path of the class that names who is behind a connection.
process.roles: What this node is: broker, controller, or both.
producer.id.expiration.ms: How long an idle producer is remembered per partition.
queued.max.requests: Requests that may wait before reading from connections stops.
replica.fetch.max.bytes: Bytes per partition that a follower asks for at a time.
replica.fetch.wait.max.ms: How long a leader may hold a follower's fetch back for lack of data.
replica.lag.time.max.ms: How long a follower may be behind before it leaves the in-sync replicas.
replica.selector.class: Dotted path of the class that picks the replica a consumer should read from.
request.timeout.ms: How long this node waits for an answer of another.
security.inter.broker.protocol: Security protocol among brokers, unless a listener is named for them.
socket.request.max.bytes: Largest request that is read at all.
telemetry.max.bytes: Largest push of client metrics that is accepted.
transaction.max.timeout.ms: Longest timeout that a transaction may ask for.
transaction.partition.verification.enable: Whether a write is checked to belong to an ongoing transaction.
transaction.state.log.min.isr: Replicas of the transaction log that must be in sync.
transaction.state.log.num.partitions: Partitions of the transaction log.
transaction.state.log.replication.factor: Replicas of the transaction log.
transactional.id.expiration.ms: How long an idle transactional id is remembered.
unclean.leader.election.enable: Whether a replica that may lack records can lead when no other is left.
cleanup.policy: What happens to old segments: delete, compact, both, or neither.
delete.retention.ms: How long tombstones stay in a compacted partition.
file.delete.delay.ms: How long files of deleted segments stay on disk.
flush.messages: Records after which the partition is forced to disk.
flush.ms: Time after which the partition is forced to disk.
follower.replication.throttled.replicas: Replicas throttled as followers, as partition:broker pairs or *.
index.interval.bytes: Bytes of log between two entries of an index.
leader.replication.throttled.replicas: Replicas throttled as leaders, as partition:broker pairs or *.
max.compaction.lag.ms: Age at which a record must become open to compaction.
max.message.bytes: Largest batch that is accepted, as it arrives.
message.timestamp.after.max.ms: How far ahead of the broker's clock a record may be.
message.timestamp.before.max.ms: How far behind the broker's clock a record may be.
message.timestamp.type: Whether records carry the time of their creation or of their append.
min.cleanable.dirty.ratio: Share of a log that must be uncompacted before compaction pays.
min.compaction.lag.ms: Age that a record must reach before it is open to compaction.
preallocate: Whether new segments take their full size on disk at once.
remote.storage.enable: Whether old segments move to tiered storage.
retention.bytes: Size of a partition above which old segments go; -1 for no limit.
retention.ms: Age after which segments go; -1 for never.
segment.bytes: Size at which a new segment is begun.
segment.index.bytes: Largest size of an index file.
segment.jitter.ms: Random amount taken off segment.ms, so that not all partitions begin segments at once.
segment.ms: Age at which a new segment is begun.
"""

_CLIENT_METRICS = """
interval.ms  int   300000  100..3600000  medium
match        list  ""      any           medium
metrics      list  ""      any           medium
"""


class Definition(Struct, frozen=True):
    """One key. `default` is text, None for null, or REQUIRED."""

    name: str
    type: str
    default: str | None
    valid: str
    importance: str
    is_dynamic: bool
    is_per_broker: bool
    is_internal: bool
    is_unlisted: bool
    broker_keys: tuple[str, ...]

    @property
    def is_sensitive(self) -> bool:
        return self.type == "password"

    @property
    def type_number(self) -> int:
        return TYPE_NUMBERS[self.type]

    @property
    def documentation(self) -> str:
        return _documentation().get(self.name, "")

    @property
    def bounds(self) -> tuple[str, str, str] | None:
        """(least, most, one value besides) as text, empty where open; None when the key has no bounds."""
        low, dots, high = self.valid.partition("..")
        if not dots:
            return None
        high, _, besides = high.partition("|")
        return low, high, besides

    @property
    def choices(self) -> tuple[str, ...]:
        """The strings allowed, or nothing when any are."""
        _, colon, names = self.valid.partition(":")
        return tuple(names.split(",")) if colon else ()


def _parse(table: str) -> dict[str, Definition]:
    definitions = {}
    for line in table.strip().splitlines():
        name, kind, default, valid, importance, *flags = line.split()
        broker_keys = next((flag[7:] for flag in flags if flag.startswith("broker=")), "")
        definitions[name] = Definition(
            name=name,
            type=kind,
            default=None if default == "null" else "" if default == '""' else default,
            valid="" if valid == "-" else valid,
            importance=importance,
            is_dynamic="dynamic" in flags or "per-broker" in flags,
            is_per_broker="per-broker" in flags,
            is_internal="internal" in flags,
            is_unlisted="unlisted" in flags,
            broker_keys=tuple(broker_keys.split(",")) if broker_keys else (),
        )
    return definitions


@cache
def broker_definitions() -> dict[str, Definition]:
    return _parse(_BROKER)


@cache
def topic_definitions() -> dict[str, Definition]:
    return _parse(_TOPIC)


@cache
def group_definitions() -> dict[str, Definition]:
    return _parse(_GROUP)


@cache
def client_metrics_definitions() -> dict[str, Definition]:
    return _parse(_CLIENT_METRICS)


@cache
def _documentation() -> dict[str, str]:
    return dict(line.split(": ", 1) for line in _DOCUMENTATION.strip().splitlines())


@cache
def broker_families() -> dict[str, tuple[str, ...]]:
    """Broker keys that say the same thing, some in coarser units: name -> the whole family, the one that wins first."""
    families = [
        definition.broker_keys for definition in topic_definitions().values() if len(definition.broker_keys) > 1
    ]
    return {name: family for family in families for name in family}
