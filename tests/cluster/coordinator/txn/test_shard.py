from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cluster.coordinator.txn.requests import InitProducer, TakePart
from cluster.coordinator.txn.state import EPOCH_MAX, MAY_FOLLOW, NAMES, Producer, Status
from cluster.coordinator.values import encode
from pykafkacore.protocol.errors import ApiError
from pykafkacore.protocol.log_records import decode_versioned
from pykafkacore.protocol.schemas.coordinator_records import TRANSACTION_LOG_VALUE
from tests.cluster.coordinator.txn.world import ID, LAST, T0, T1, U0, World, at_epoch, code_of, name_of, ongoing, shown

# --- InitProducerId ---------------------------------------------------------------------------------------------------------


def test_a_new_transactional_id_gets_the_spare_producer_id_at_epoch_0() -> None:
    world = World()
    assert world.producer() == Producer(world.spare, 0)
    assert world.status() == "Empty"


def test_who_asks_again_gets_the_same_producer_id_at_the_next_epoch() -> None:
    world = World()
    first = world.producer()
    assert world.producer() == Producer(first.producer_id, 1)


def test_ids_have_their_own_epochs() -> None:
    world = World()
    first, other = world.producer(), world.producer(transactional_id="other")
    assert other.producer_id != first.producer_id and other.producer_epoch == 0


def test_an_open_transaction_of_another_is_aborted_first_and_the_epoch_rises_by_2() -> None:
    world, old = ongoing()
    assert code_of(world.init()) == "CONCURRENT_TRANSACTIONS"
    (markers,) = world.markers
    assert (markers.commit, markers.producer_epoch, markers.partitions) == (False, old.producer_epoch + 1, (T0, T1))
    assert code_of(world.init()) == "CONCURRENT_TRANSACTIONS", "until the markers are written"
    world.write_markers()
    assert world.producer() == Producer(old.producer_id, old.producer_epoch + 2)


@pytest.mark.parametrize("version", [3, 5])
def test_who_was_fenced_can_neither_add_nor_end(version: int) -> None:
    world, old = ongoing(version)
    world.producer()
    assert world.add(old, T0, version=version) == ["PRODUCER_FENCED"]
    assert code_of(world.end(old, version=version)) == "PRODUCER_FENCED"
    assert code_of(world.end(old, commit=False, version=version)) == "PRODUCER_FENCED"


@pytest.mark.parametrize("timeout_ms", [0, -1, 900_001])
def test_a_timeout_out_of_bounds_is_refused(timeout_ms: int) -> None:
    assert code_of(World().init(timeout_ms=timeout_ms)) == "INVALID_TRANSACTION_TIMEOUT"


def test_the_longest_timeout_is_accepted_and_kept() -> None:
    world = World()
    world.producer(timeout_ms=900_000)
    assert world.describe().transaction_timeout_ms == 900_000


@pytest.mark.parametrize("transactional_id", ["", "x" * 40_000])
def test_an_id_that_no_record_can_hold_is_refused(transactional_id: str) -> None:
    world = World()
    message = world.body("InitProducerId", 5, transactional_id="x", transaction_timeout_ms=1)
    message.transactional_id = transactional_id
    answer = world.ask("InitProducerId", 5, lambda request: InitProducer(request, 1), message)
    assert code_of(answer) == "INVALID_REQUEST"


def test_two_phases_and_kept_transactions_are_not_supported() -> None:
    assert code_of(World().init(6, keep_prepared_txn=True)) == "UNSUPPORTED_VERSION"
    assert code_of(World().init(6, enable_2pc=True)) == "UNSUPPORTED_VERSION"


def test_where_two_phases_are_enabled_such_a_transaction_never_times_out() -> None:
    world = World(two_phase_commit_enabled=True)
    producer = world.producer(6, enable_2pc=True, timeout_ms=0)
    world.add(producer, T0)
    world.pass_ms(3_600_000)
    assert world.status() == "Ongoing"


@pytest.mark.parametrize("given", [{"producer_id": 5}, {"producer_epoch": 5}])
def test_producer_id_and_epoch_come_together_or_not_at_all(given: dict[str, int]) -> None:
    assert code_of(World().init(5, **given)) == "INVALID_REQUEST"


def test_a_producer_that_shows_its_epoch_gets_the_next() -> None:
    world = World()
    first = world.producer()
    assert world.producer(3, **shown(first)) == Producer(first.producer_id, 1)


def test_a_producer_that_shows_the_epoch_before_is_given_the_current_one_again() -> None:
    world = World()
    first = world.producer()
    second = world.producer(3, **shown(first))
    assert world.producer(3, **shown(first)) == second
    assert world.producer(3, **shown(first)) == second


@pytest.mark.parametrize(("version", "code"), [(3, "INVALID_PRODUCER_EPOCH"), (4, "PRODUCER_FENCED")])
def test_a_producer_that_shows_an_epoch_that_another_took_over_is_fenced(version: int, code: str) -> None:
    world = World()
    first = world.producer()
    world.producer()
    assert code_of(world.init(version, **shown(first))) == code


def test_a_repeated_renewal_over_a_change_of_coordinators_is_fenced() -> None:
    world = World()
    first = world.producer()
    world.producer(5, **shown(first))
    world.reload()
    assert code_of(world.init(5, **shown(first))) == "PRODUCER_FENCED"


def test_a_fenced_producer_that_asks_does_not_abort_the_transaction_of_its_successor() -> None:
    world = World()
    first = world.producer()
    second = world.producer()
    world.add(second, T0)
    assert code_of(world.init(5, **shown(first))) == "PRODUCER_FENCED"
    assert world.status() == "Ongoing"


def test_an_id_that_is_not_known_takes_any_producer_and_makes_it_a_new_one() -> None:
    world = World()
    assert world.producer(5, producer_id=77, producer_epoch=5) == Producer(world.spare, 0)


def test_after_the_last_epoch_comes_another_producer_id() -> None:
    world = World()
    last = at_epoch(world, LAST)
    after = world.producer()
    assert after == Producer(world.spare, 0) and after.producer_id != last.producer_id
    assert world.shard.transactions[ID].previous_producer_id == last.producer_id


def test_the_epoch_before_the_last_is_followed_by_the_last() -> None:
    world = World()
    producer = at_epoch(world, LAST - 1)
    assert world.producer() == Producer(producer.producer_id, LAST)


def test_a_repeated_renewal_from_the_last_epoch_gets_the_new_producer_id_again() -> None:
    world = World()
    last = at_epoch(world, LAST)
    after = world.producer(5, **shown(last))
    assert world.producer(5, **shown(last)) == after


def test_who_did_not_renew_from_the_last_epoch_is_fenced_by_who_did() -> None:
    world = World()
    last = at_epoch(world, LAST)
    world.producer()
    assert code_of(world.init(5, **shown(last))) == "PRODUCER_FENCED"


def test_taking_over_at_the_last_epoch_ends_in_another_producer_id() -> None:
    world = World()
    last = at_epoch(world, LAST)
    world.add(last, T0)
    assert code_of(world.init()) == "CONCURRENT_TRANSACTIONS"
    assert world.markers[0].producer_epoch == EPOCH_MAX
    world.write_markers()
    assert world.producer() == Producer(world.spare, 0)


# --- AddPartitionsToTxn, AddOffsetsToTxn ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 3, 4, 5])
def test_partitions_open_a_transaction_and_add_to_it(version: int) -> None:
    world = World()
    producer = world.producer()
    assert world.add(producer, T0, version=version) == ["NONE"]
    began = world.now
    world.now += 500
    assert world.add(producer, T1, U0, version=version) == ["NONE", "NONE"]
    state = world.describe()
    assert (state.transaction_state, state.transaction_start_time_ms) == ("Ongoing", began)
    assert [(row.topic, row.partitions) for row in state.topics] == [("t", [0, 1]), ("u", [0])]


def test_partitions_that_are_in_already_are_not_logged_again() -> None:
    world, producer = ongoing()
    end = len(world.log)
    assert world.add(producer, T1) == ["NONE"]
    assert len(world.log) == end


def test_an_empty_addition_opens_nothing() -> None:
    world = World()
    world.add(world.producer())
    assert world.status() == "Empty"


def test_answers_name_every_partition_that_was_asked_for() -> None:
    world = World()
    answer = world.add_answer(world.producer(), T0, U0, version=3)
    rows = [(row.name, row.results_by_partition[0].partition_index) for row in answer.results_by_topic_v3_and_below]
    assert rows == [T0, U0]
    assert world.add_answer(world.producer(), T0, version=4).transactional_id == ID


@pytest.mark.parametrize(("version", "code"), [(1, "INVALID_PRODUCER_EPOCH"), (2, "PRODUCER_FENCED"), (5, "PRODUCER_FENCED")])
def test_an_epoch_that_is_over_cannot_add(version: int, code: str) -> None:
    world = World()
    old = world.producer()
    world.producer()
    assert world.add(old, T0, version=version) == [code]
    assert world.add(Producer(old.producer_id, 9), T0, version=version) == [code], "nor one to come"


def test_another_producer_id_cannot_add() -> None:
    world = World()
    world.producer()
    assert world.add(Producer(4, 0), T0) == ["INVALID_PRODUCER_ID_MAPPING"]


def test_an_id_that_is_not_known_cannot_add() -> None:
    assert World().add(Producer(4, 0), T0, T1) == ["INVALID_PRODUCER_ID_MAPPING"] * 2


def test_an_empty_id_cannot_add() -> None:
    assert World().add(Producer(4, 0), T0, transactional_id="") == ["INVALID_REQUEST"]


@pytest.mark.parametrize("version", [3, 5])
def test_a_producer_cannot_add_while_its_last_transaction_is_being_ended(version: int) -> None:
    world, producer = ongoing(version)
    answer = world.end(producer, version=version)
    after = Producer(answer.producer_id, answer.producer_epoch) if version >= 5 else producer
    assert world.add(after, U0, version=version) == ["CONCURRENT_TRANSACTIONS"]
    world.write_markers()
    assert world.add(after, U0, version=version) == ["NONE"]


def test_a_transaction_that_no_record_can_hold_is_refused() -> None:
    world = World()
    producer = world.producer()
    places = [("x" * 249 + str(i), 0) for i in range(3000)]
    assert set(world.add(producer, *places)) == {"MESSAGE_TOO_LARGE"}
    assert world.status() == "Empty"


def test_looking_changes_nothing_and_tells_each_partition_apart() -> None:
    world, producer = ongoing()
    end = len(world.log)
    assert world.add(producer, T0, U0, verify=True) == ["NONE", "TRANSACTION_ABORTABLE"]
    assert len(world.log) == end


@pytest.mark.parametrize("is_look", [False, True])
def test_a_broker_that_asks_in_values_is_told_the_same(is_look: bool) -> None:
    for producer_id_off, epoch_off in ((0, 0), (1, 0), (0, 3)):
        (by_message, one), (by_values, other) = ongoing(), ongoing()
        producer = Producer(one.producer_id + producer_id_off, one.producer_epoch + epoch_off)
        assert one == other
        told = by_message.add(producer, T0, U0, verify=is_look)
        codes = by_values.submit(lambda _: TakePart(ID, producer, frozenset((T0, U0)), is_look))  # noqa: B023
        assert [name_of(codes[place]) for place in (T0, U0)] == told
        assert by_values.log == by_message.log


def test_looking_without_a_transaction_finds_nothing() -> None:
    world = World()
    producer = world.producer()
    assert world.add(producer, T0, verify=True, version=4) == ["TRANSACTION_ABORTABLE"]
    assert world.status() == "Empty"


def test_looking_by_who_may_not_is_refused() -> None:
    world, producer = ongoing()
    assert world.add(Producer(4, 0), T0, verify=True) == ["INVALID_PRODUCER_ID_MAPPING"]
    assert world.add(Producer(producer.producer_id, 9), T0, verify=True) == ["PRODUCER_FENCED"]
    after = world.end(producer)
    assert world.add(Producer(after.producer_id, after.producer_epoch), T0, verify=True) == ["CONCURRENT_TRANSACTIONS"]


def test_offsets_are_a_partition_like_any_other() -> None:
    world = World()
    producer = world.producer()
    assert code_of(world.add_offsets(producer, 13)) == "NONE"
    world.end(producer)
    assert world.markers[0].partitions == (("__consumer_offsets", 13),)


@pytest.mark.parametrize(("version", "code"), [(1, "INVALID_PRODUCER_EPOCH"), (2, "PRODUCER_FENCED")])
def test_an_epoch_that_is_over_cannot_add_offsets(version: int, code: str) -> None:
    world = World()
    old = world.producer()
    world.producer()
    assert code_of(world.add_offsets(old, 0, version=version)) == code


# --- markers ----------------------------------------------------------------------------------------------------------------


def test_nothing_is_answered_or_written_before_the_outcome_is_committed() -> None:
    world, producer = ongoing()
    world.replicated = False
    assert world.end(producer) is None
    assert not world.markers
    world.replicate()
    assert len(world.markers) == 1 and len(world.answers) == 1


def test_every_prepared_outcome_goes_on_after_a_load_in_the_new_leader_epoch() -> None:
    world, producer = ongoing()
    world.end(producer)
    world.report(world.markers[0], T0)
    world.reload()
    (markers,) = world.markers
    assert markers.partitions == (T0, T1), "all of them: nobody knows what is written"
    assert (markers.commit, markers.coordinator_epoch) == (True, world.leader_epoch)
    world.write_markers()
    assert world.status() == "CompleteCommit"


def test_an_abort_of_nothing_that_was_half_logged_is_completed_after_a_load() -> None:
    world = World()
    world.end(world.producer(), commit=False)
    del world.log[-1]
    world.reload()
    assert world.status() == "CompleteAbort"


def test_an_open_transaction_is_still_open_after_a_load() -> None:
    world, producer = ongoing()
    world.reload()
    assert world.markers == []
    assert world.commit(producer, U0).producer_epoch == producer.producer_epoch + 1


def test_reports_of_markers_may_come_twice_late_and_for_nobody() -> None:
    world, producer = ongoing()
    world.end(producer)
    (markers,) = world.markers
    assert not world.report(markers, T0)
    assert not world.report(markers, T0)
    assert not world.report(replace(markers, transactional_id="who"))
    assert not world.report(replace(markers, prepared_offset=markers.prepared_offset - 1))
    assert world.status() == "PrepareCommit"
    assert world.report(markers, T1, U0)
    end = len(world.log)
    assert not world.report(markers)
    assert len(world.log) == end


@pytest.mark.parametrize("version", [4, 5])
def test_a_late_report_of_one_transaction_does_not_complete_the_next(version: int) -> None:
    world, producer = ongoing(version)
    answer = world.end(producer, version=version)
    (first,) = world.markers
    world.write_markers()
    after = Producer(answer.producer_id, answer.producer_epoch) if version >= 5 else producer
    world.add(after, T0, T1, version=5 if version >= 5 else 3)
    world.end(after, version=version)
    assert not world.report(first)
    assert world.status() == "PrepareCommit"
    world.write_markers()
    assert world.status() == "CompleteCommit"


def test_a_report_of_markers_that_an_earlier_leader_asked_for_counts_for_nothing() -> None:
    world, producer = ongoing(4)
    world.end(producer, version=4)
    (earlier,) = world.markers
    world.reload()
    assert not world.report(earlier)
    assert world.status() == "PrepareCommit"
    assert world.markers[0].prepared_offset == earlier.prepared_offset, "the same outcome"


def test_outcomes_that_are_logged_together_are_told_apart() -> None:
    world, producer = ongoing()
    world.add(world.producer(transactional_id="b"), T0, transactional_id="b")
    world.pass_ms(70_001)
    first, second = world.markers
    assert not world.report(replace(first, transactional_id="b"))
    assert world.report(second) and world.report(first)


def test_a_fence_that_another_wrote_into_the_log_is_carried_through() -> None:
    world, producer = ongoing()
    key, value = world.log[-1]
    assert value is not None
    at = value.index(bytes([Status.ONGOING]), 16)
    world.log.append((key, value[:at] + bytes([Status.PREPARE_EPOCH_FENCE]) + value[at + 1 :]))
    world.reload()
    assert (world.status(), world.markers[0].producer_epoch) == ("PrepareAbort", producer.producer_epoch + 1)


# --- time -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
def test_a_transaction_past_its_timeout_is_aborted_with_the_next_epoch(version: int) -> None:
    world, producer = ongoing(version)
    world.pass_ms(60_000)
    assert world.status() == "Ongoing"
    world.pass_ms(10_000)
    assert world.status() == "PrepareAbort"
    (markers,) = world.markers
    assert (markers.commit, markers.producer_epoch) == (False, producer.producer_epoch + 1)


@pytest.mark.parametrize("used", [4, 5])
@pytest.mark.parametrize(
    ("version", "code"), [(1, "INVALID_PRODUCER_EPOCH"), (3, "PRODUCER_FENCED"), (5, "INVALID_TXN_STATE")]
)
def test_a_commit_after_a_timeout_is_refused_and_its_producer_may_recover(used: int, version: int, code: str) -> None:
    world, producer = ongoing(used)
    world.pass_ms(70_001)
    world.write_markers()
    assert code_of(world.end(producer, version=version)) == code
    again = world.producer(5, **shown(producer))
    assert again == Producer(producer.producer_id, producer.producer_epoch + 1)


def test_the_timeout_counts_from_the_beginning_even_over_a_load() -> None:
    world, producer = ongoing()
    world.pass_ms(30_000)
    world.add(producer, U0)
    world.reload()
    world.pass_ms(40_001)
    assert world.status() == "PrepareAbort"


def test_ended_transactions_do_not_time_out() -> None:
    world, producer = ongoing()
    world.end(producer)
    world.pass_ms(200_000)
    assert world.status() == "PrepareCommit"


def test_an_id_that_nobody_used_for_long_is_forgotten() -> None:
    world = World()
    old = world.commit(world.producer(), T0)
    world.pass_ms(604_800_000 - 1)
    assert world.status() == "CompleteCommit"
    world.pass_ms(3_600_000)
    assert ID not in world.shard.transactions
    assert world.log[-1][1] is None
    assert world.add(old, T0) == ["INVALID_PRODUCER_ID_MAPPING"]
    world.reload()
    assert world.producer() == Producer(world.spare, 0)


def test_an_id_whose_outcome_is_not_complete_is_never_forgotten() -> None:
    world, producer = ongoing()
    world.end(producer)
    world.pass_ms(700_000_000)
    assert world.status() == "PrepareCommit"


# --- looking ----------------------------------------------------------------------------------------------------------------


def test_describe_tells_what_is_known() -> None:
    world, producer = ongoing()
    state = world.describe()
    assert (state.error_code, state.transactional_id, state.transaction_state) == (0, ID, "Ongoing")
    assert (state.producer_id, state.producer_epoch) == (producer.producer_id, producer.producer_epoch)


def test_describe_tells_what_is_not_known() -> None:
    world = World()
    assert code_of(world.describe("who")) == "TRANSACTIONAL_ID_NOT_FOUND"
    assert code_of(world.describe("")) == "INVALID_REQUEST"


def listed(answer: object) -> list[str]:
    return sorted(row.transactional_id for row in answer.transaction_states)  # type: ignore[attr-defined]


def test_list_filters_by_state_producer_duration_and_pattern() -> None:
    world, producer = ongoing()
    world.now += 5_000
    second = world.producer(transactional_id="app-2")
    world.add(second, T0, transactional_id="app-2")
    world.producer(transactional_id="idle")
    assert listed(world.list(0)) == ["app", "app-2", "idle"]
    assert listed(world.list(0, state_filters=["Ongoing"])) == ["app", "app-2"]
    assert listed(world.list(0, producer_id_filters=[producer.producer_id])) == ["app"]
    assert listed(world.list(1, duration_filter=4_000, state_filters=["Ongoing"])) == ["app"]
    assert listed(world.list(1, duration_filter=5_000, state_filters=["Ongoing"])) == []
    assert listed(world.list(2, transactional_id_pattern="app-.")) == ["app-2"]
    assert listed(world.list(2, transactional_id_pattern="app")) == ["app"]


def test_list_tells_states_that_there_are_none_of() -> None:
    world, _ = ongoing()
    answer = world.list(0, state_filters=["Dreaming"])
    assert (answer.unknown_state_filters, answer.transaction_states) == (["Dreaming"], [])


def test_list_refuses_a_pattern_that_is_none() -> None:
    assert code_of(World().list(2, transactional_id_pattern="(")) == "INVALID_REGULAR_EXPRESSION"


# --- the log ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("transaction_version", "value_version"), [(0, 0), (1, 1), (2, 1)])
def test_values_are_written_in_the_version_that_the_feature_asks_for(transaction_version: int, value_version: int) -> None:
    world = World(transaction_version)
    world.commit(world.producer(), T0, version=4)
    assert set(world.value_versions()) == {value_version}


def test_what_the_new_protocol_must_not_forget_is_written_whatever_the_feature_says() -> None:
    world = World(0)
    last = at_epoch(world, LAST)
    world.add(last, T0)
    answer = world.end(last)
    world.reload()
    world.write_markers()
    assert world.end(last) == answer


def test_partitions_are_null_while_there_never_was_a_transaction_and_else_a_list() -> None:
    world = World()
    world.commit(world.producer(), T0)
    rows = [decode_versioned(TRANSACTION_LOG_VALUE, value)[1].transaction_partitions for _, value in world.log if value]
    assert rows[0] is None and [row.partition_ids for row in rows[1]] == [[0]] and rows[-1] == []


def test_every_state_has_a_name_and_a_row_in_the_table() -> None:
    assert set(NAMES) == set(MAY_FOLLOW) == set(Status)


IDS = st.sampled_from([ID, "b"])
STEPS = st.lists(
    st.tuples(st.integers(0, 9), IDS, st.integers(-1, 1), st.booleans(), st.sampled_from([1, 4, 5])), max_size=40
)


@given(STEPS, st.sampled_from([0, 1, 2]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_whatever_was_asked_a_shard_from_the_log_knows_the_same(
    steps: list[tuple[int, str, int, bool, int]], transaction_version: int, exhausted: bool
) -> None:
    world = World(transaction_version)
    if exhausted:
        at_epoch(world, LAST - 2)
        record = world.shard._record(None, replace(world.shard.transactions[ID], producer_epoch=LAST - 2))
        world.log[-1] = encode(record)
    for kind, name, offset, flag, version in steps:
        known = world.shard.transactions.get(name)
        who = Producer(known.producer_id, known.producer_epoch + offset) if known else Producer(1, 0)
        who = Producer(who.producer_id, max(0, min(who.producer_epoch, EPOCH_MAX)))
        if kind <= 1:
            world.init(5, name, **(shown(who) if flag else {}))
        elif kind <= 4:
            world.add(who, T0 if flag else T1, version=5 if version == 5 else 3, transactional_id=name)
        elif kind <= 6:
            world.end(who, flag, version, name)
        elif kind == 7:
            world.write_markers()
        elif kind == 8 and world.markers:
            world.report(world.markers[0], world.markers[0].partitions[0])
        elif kind == 9:
            world.pass_ms(70_000)
        assert world.replayed().transactions == world.shard.transactions


def test_an_error_is_an_error_and_no_answer() -> None:
    assert isinstance(World().end(Producer(1, 0)), ApiError)
