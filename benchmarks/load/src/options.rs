//! `--name value` against a table that holds every option's default and meaning. An unknown name is an error.

use std::collections::BTreeMap;
use std::str::FromStr;

/// One option: its name, its default, what it means.
pub type Row = (&'static str, &'static str, &'static str);

pub struct Options {
    values: BTreeMap<&'static str, String>,
}

impl Options {
    pub fn parse(table: &[Row], arguments: &[String]) -> Result<Options, String> {
        let mut values: BTreeMap<_, _> =
            table.iter().map(|(name, default, _)| (*name, (*default).to_owned())).collect();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let name = argument.strip_prefix("--").unwrap_or(argument);
            let Some(row) = table.iter().find(|row| row.0 == name) else {
                return Err(format!("{argument} is no option; there are:\n{}", help(table)));
            };
            let value = rest.next().ok_or_else(|| format!("{argument} needs a value"))?;
            values.insert(row.0, value.clone());
        }
        Ok(Options { values })
    }

    pub fn text(&self, name: &str) -> &str {
        &self.values[name]
    }

    pub fn get<T: FromStr>(&self, name: &str) -> Result<T, String> {
        let text = self.text(name);
        text.parse().map_err(|_| format!("--{name} {text} is not of the form that it needs"))
    }

    /// One of a few words, as its place among them.
    pub fn choice(&self, name: &str, words: &[&str]) -> Result<usize, String> {
        let text = self.text(name);
        words.iter().position(|word| *word == text).ok_or_else(|| format!("--{name} {text} is none of {words:?}"))
    }
}

pub fn help(table: &[Row]) -> String {
    table.iter().map(|(name, default, about)| format!("  --{name:<20} {about} [{default}]\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Row] = &[("rate", "0", "requests a second"), ("read", "walk", "how")];

    fn parsed(words: &[&str]) -> Result<Options, String> {
        Options::parse(TABLE, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_given_stands_above_the_default() {
        let options = parsed(&["--rate", "2.5"]).unwrap();
        assert_eq!(options.get::<f64>("rate"), Ok(2.5));
        assert_eq!(options.choice("read", &["copy", "walk"]), Ok(1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(parsed(&["--speed", "1"]).err().unwrap().contains("--speed is no option"));
        assert_eq!(parsed(&["--rate"]).err().unwrap(), "--rate needs a value");
        assert!(parsed(&["--rate", "fast"]).unwrap().get::<f64>("rate").unwrap_err().contains("--rate fast"));
    }
}
