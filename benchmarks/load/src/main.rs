//! A load for Kafka brokers on raw sockets, so cheap that the broker is what is measured; and the machine's own limits.
//!
//! It speaks to loopback only, prints one line of JSON, and stops with an error at the first thing that goes wrong.

mod bare;
mod batches;
mod connection;
mod frames;
mod histogram;
mod hold;
mod limits;
mod options;
mod producers;
mod readers;
mod replay;
mod run;
mod sys;
mod usage;

use std::process::ExitCode;

type Command = (&'static str, &'static str, &'static [options::Row], fn(&[String]) -> Result<String, String>);

const COMMANDS: &[Command] = &[
    ("run", "write, read, or both, and tell how it went", run::OPTIONS, run::run),
    ("hold", "open connections and keep them until standard input ends", hold::OPTIONS, hold::run),
    ("replay", "ask requests from standard input again and again", replay::OPTIONS, replay::run),
    ("limits", "what the machine itself can do", limits::OPTIONS, limits::run),
    ("bare", "the least that a broker could do, to be loaded like one", bare::OPTIONS, bare::run),
];

fn usage() -> String {
    let commands = COMMANDS.iter().map(|(name, about, table, _)| format!("{name}: {about}\n{}", options::help(table)));
    format!("usage: pykafkacore-load <command> [--option value]...\n\n{}", commands.collect::<Vec<_>>().join("\n"))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = arguments.first().and_then(|name| COMMANDS.iter().find(|command| command.0 == name));
    let Some((_, _, _, go)) = command else {
        eprintln!("{}", usage());
        return ExitCode::from(2);
    };
    match sys::prepare_process().map_err(|e| e.to_string()).and_then(|()| go(&arguments[1..])) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pykafkacore-load: {error}");
            ExitCode::FAILURE
        }
    }
}
