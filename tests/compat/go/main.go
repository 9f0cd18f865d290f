// franz-go as one of the compared clients. See ../clients/README.md for the common command line and file format.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func decode(text string) []byte {
	if text == "-" {
		return nil
	}
	bytes, err := base64.StdEncoding.DecodeString(text)
	check(err)
	if bytes == nil {
		bytes = []byte{}
	}
	return bytes
}

func encode(bytes []byte) string {
	if bytes == nil {
		return "-"
	}
	return base64.StdEncoding.EncodeToString(bytes)
}

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

func produce(bootstrap, records, spec string) {
	parts := strings.Split(spec, ":")
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(parts[0]), kgo.ProducerBatchCompression(codec(parts[1])),
		kgo.AllowAutoTopicCreation(),
	}
	switch parts[2] {
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "all":
		options = append(options, kgo.RequiredAcks(kgo.AllISRAcks()))
	}
	client, err := kgo.NewClient(options...)
	check(err)
	defer client.Close()
	file, err := os.Open(records)
	check(err)
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		fields := strings.Split(scanner.Text(), "\t")
		millis, err := strconv.ParseInt(fields[0], 10, 64)
		check(err)
		record := &kgo.Record{Timestamp: time.UnixMilli(millis), Key: decode(fields[1]), Value: decode(fields[2])}
		if fields[3] != "" {
			for _, header := range strings.Split(fields[3], ";") {
				key, value, _ := strings.Cut(header, "=")
				record.Headers = append(record.Headers, kgo.RecordHeader{Key: key, Value: decode(value)})
			}
		}
		client.Produce(context.Background(), record, func(_ *kgo.Record, err error) { check(err) })
	}
	check(client.Flush(context.Background()))
}

func consume(bootstrap, out, topic string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	check(err)
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	check(err)
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
		}
	})
	file, err := os.Create(filepath.Join(out, topic+".tsv"))
	check(err)
	writer := bufio.NewWriter(file)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		check(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			var headers []string
			for _, header := range r.Headers {
				headers = append(headers, header.Key+"="+encode(header.Value))
			}
			fmt.Fprintf(writer, "%d\t%d\t%d\t%s\t%s\t%s\n", r.Partition, r.Offset, r.Timestamp.UnixMilli(),
				encode(r.Key), encode(r.Value), strings.Join(headers, ";"))
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	check(writer.Flush())
	check(file.Close())
}

// group consumes as a member until SIGTERM, and prints a line for each record.
func group(bootstrap, topic, id, protocol string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	options := []kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(id),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(time.Second)}
	if protocol == "range" {
		// Its default, cooperative-sticky alone, is no way to share a group with members that cannot do that.
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	}
	client, err := kgo.NewClient(options...)
	check(err)
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachRecord(func(r *kgo.Record) { fmt.Printf("%d\t%d\n", r.Partition, r.Offset) })
	}
	final, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client.CommitUncommittedOffsets(final)
	client.LeaveGroupContext(final)
	client.Close()
}

// transact makes six transactions of ten records, every other one aborted.
func transact(bootstrap, topic, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic), kgo.TransactionalID(id),
		kgo.AllowAutoTopicCreation())
	check(err)
	defer client.Close()
	for i := 0; i < 6; i++ {
		check(client.BeginTransaction())
		for k := 0; k < 10; k++ {
			check(client.ProduceSync(ctx, kgo.StringRecord(fmt.Sprintf("%d-%d", i, k))).FirstErr())
		}
		check(client.EndTransaction(ctx, i%2 == 0))
	}
}

// isolated prints every value up to the end as this isolation level sees it.
func isolated(bootstrap, topic, level string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	isolation := kgo.ReadUncommitted()
	if level == "read_committed" {
		isolation = kgo.ReadCommitted()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(isolation),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	check(err)
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	check(err)
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
		}
	})
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		check(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				fmt.Println(string(r.Value))
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
}

// admin does one round of everything an administrator does, and prints what came of it.
func admin(bootstrap, topic string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	check(err)
	defer client.Close()
	adm := kadm.NewClient(client)
	retention := "60000"
	created, err := adm.CreateTopics(ctx, 2, 1, map[string]*string{"retention.ms": &retention}, topic)
	check(err)
	check(created.Error())
	_, err = adm.CreateTopics(ctx, 2, 1, nil, topic)
	again, _ := adm.CreateTopics(ctx, 2, 1, nil, topic)
	fmt.Println("create again:", again[topic].Err, err)
	grown, err := adm.CreatePartitions(ctx, 1, topic)
	check(err)
	check(grown.Error())
	details, err := adm.ListTopics(ctx, topic)
	// Apache Kafka answers before its broker has taken a change over.
	for err == nil && len(details[topic].Partitions) != 3 && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
		details, err = adm.ListTopics(ctx, topic)
	}
	check(err)
	fmt.Println("partitions:", len(details[topic].Partitions))
	configs, err := adm.DescribeTopicConfigs(ctx, topic)
	check(err)
	for _, config := range configs[0].Configs {
		if config.Key == "retention.ms" {
			fmt.Println("retention.ms:", *config.Value, config.Source)
		}
	}
	segment := "2097152"
	altered, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "segment.bytes", Value: &segment}}, topic)
	check(err)
	check(altered[0].Err)
	brokers, err := adm.ListBrokers(ctx)
	check(err)
	fmt.Println("brokers:", len(brokers))
	deleted, err := adm.DeleteTopics(ctx, topic)
	check(err)
	check(deleted.Error())
	gone, _ := adm.DeleteTopics(ctx, topic)
	fmt.Println("delete again:", gone[topic].Err)
}

func main() {
	switch os.Args[1] {
	case "produce":
		for _, spec := range os.Args[4:] {
			produce(os.Args[2], os.Args[3], spec)
		}
	case "consume":
		for _, topic := range os.Args[4:] {
			consume(os.Args[2], os.Args[3], topic)
		}
	case "transact":
		transact(os.Args[2], os.Args[3], os.Args[4])
	case "isolated":
		isolated(os.Args[2], os.Args[3], os.Args[4])
	case "group":
		group(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	case "admin":
		admin(os.Args[2], os.Args[3])
	}
}
