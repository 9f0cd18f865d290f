//! Processor time and memory of this process, of the broker and of the whole machine, from /proc.

use std::fs;

use crate::sys;

/// A moment's readings. Times are in seconds since the process, or the machine, was started.
#[derive(Clone, Copy, Default)]
pub struct Reading {
    pub own_user_s: f64,
    pub own_system_s: f64,
    pub broker_user_s: f64,
    pub broker_system_s: f64,
    pub machine_busy_s: f64,
    pub machine_steal_s: f64,
    pub broker_rss_bytes: u64,
}

fn process_times(pid: &str) -> (f64, f64) {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let per_second = sys::clock_ticks_per_second();
    (ticks(11) / per_second, ticks(12) / per_second)
}

/// (all but idle, waiting and stolen; stolen) seconds of all processors together.
fn machine_times() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let of =
        |places: &[usize]| places.iter().filter_map(|at| ticks.get(*at)).sum::<f64>() / sys::clock_ticks_per_second();
    // user nice system idle iowait irq softirq steal
    (of(&[0, 1, 2, 5, 6]), of(&[7]))
}

pub fn rss_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// `broker` 0 reads no broker.
pub fn read(broker: u32) -> Reading {
    let (own_user_s, own_system_s) = process_times("self");
    let (broker_user_s, broker_system_s) = if broker == 0 { (0.0, 0.0) } else { process_times(&broker.to_string()) };
    let (machine_busy_s, machine_steal_s) = machine_times();
    let broker_rss_bytes = if broker == 0 { 0 } else { rss_bytes(broker) };
    Reading {
        own_user_s,
        own_system_s,
        broker_user_s,
        broker_system_s,
        machine_busy_s,
        machine_steal_s,
        broker_rss_bytes,
    }
}

/// What was used between two readings, as fields of a JSON object.
pub fn json_between(before: Reading, after: Reading) -> String {
    let d = |field: fn(&Reading) -> f64| field(&after) - field(&before);
    format!(
        "\"broker_user_s\":{:.3},\"broker_system_s\":{:.3},\"own_user_s\":{:.3},\"own_system_s\":{:.3},\
         \"machine_busy_s\":{:.3},\"machine_steal_s\":{:.3},\"broker_rss_bytes\":{}",
        d(|r| r.broker_user_s),
        d(|r| r.broker_system_s),
        d(|r| r.own_user_s),
        d(|r| r.own_system_s),
        d(|r| r.machine_busy_s),
        d(|r| r.machine_steal_s),
        after.broker_rss_bytes
    )
}
