//! What the files of a log are called, and its directory, where it is on its way in or out.

const OFFSET_DIGITS: usize = 20;
/// KAFKA: file names are kept within 255 characters; the unique part and the mark stay whole.
const NAME_CHARS_MAX: usize = 255;

pub fn partition_dir_name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// `<topic>-<partition>.<32 hex digits>-delete`
pub fn doomed_dir_name(name: &str, unique: &str) -> String {
    cut_dir_name(name, &format!(".{unique}-delete"))
}

/// `<topic>-<partition>.<32 hex digits>-stray`
pub fn stray_dir_name(name: &str, unique: &str) -> String {
    cut_dir_name(name, &format!(".{unique}-stray"))
}

fn cut_dir_name(name: &str, suffix: &str) -> String {
    let room = NAME_CHARS_MAX.saturating_sub(suffix.len());
    let kept = (0..=room.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{suffix}", &name[..kept])
}

/// `<topic>-<partition>.<32 hex digits>-future`
/// KAFKA: never cut; a topic whose name is too long for it does not move.
pub fn future_dir_name(name: &str, unique: &str) -> String {
    format!("{name}.{unique}-future")
}

/// The partition's directory name in that of a future one.
pub fn parse_future_dir_name(name: &str) -> Option<&str> {
    let (dir_name, unique) = name.strip_suffix("-future")?.rsplit_once('.')?;
    let is_unique = unique.len() == 32 && unique.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_unique && parse_partition_dir_name(dir_name).is_some()).then_some(dir_name)
}

pub fn is_doomed(name: &str) -> bool {
    let unique = name.strip_suffix("-delete").and_then(|name| name.rsplit_once('.'));
    unique.is_some_and(|(_, unique)| unique.len() == 32 && unique.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Topic and partition of a directory's name; None for anything else that may lie there.
pub fn parse_partition_dir_name(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition = partition.parse::<i32>().ok().filter(|p| *p >= 0)?;
    (!topic.is_empty()).then_some((topic, partition))
}

pub fn file_name(base_offset: i64, suffix: &str) -> String {
    format!("{base_offset:020}{suffix}")
}

/// Base offset and suffix of `<20 digits><suffix>`.
pub fn parse_file_name(name: &str) -> Option<(i64, &str)> {
    let (digits, suffix) = name.split_at_checked(OFFSET_DIGITS)?;
    let numeric = digits.bytes().all(|byte| byte.is_ascii_digit()) && suffix.starts_with('.');
    if numeric { Some((digits.parse().ok()?, suffix)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_the_last_dash() {
        assert_eq!(parse_partition_dir_name("a-b-12"), Some(("a-b", 12)));
        assert_eq!(parse_partition_dir_name("a-0.00ff-delete"), None);
        assert_eq!(parse_partition_dir_name("-1"), None);
        let doomed = doomed_dir_name(&"x".repeat(249), "0123456789abcdef0123456789abcdef");
        assert_eq!(doomed.len(), 255);
        assert!(doomed.ends_with("-delete"));
    }

    #[test]
    fn names_of_directories_that_are_to_be_or_to_go_are_told_from_those_of_topics() {
        let unique = "00112233445566778899aabbccddeeff";
        assert_eq!(parse_future_dir_name(&future_dir_name("a.b-7", unique)), Some("a.b-7"));
        assert_eq!(parse_future_dir_name("a-future"), None);
        assert_eq!(parse_future_dir_name("a-1.0011-future"), None);
        assert!(is_doomed(&doomed_dir_name("a.b-7", unique)));
        assert!(!is_doomed("a-delete"));
    }

    #[test]
    fn only_twenty_digits_and_a_suffix_name_a_file_of_the_log() {
        assert_eq!(parse_file_name("00000000000000000012.log"), Some((12, ".log")));
        assert_eq!(parse_file_name("12.log"), None);
        assert_eq!(parse_file_name("-0000000000000000012.log"), None);
        assert_eq!(parse_file_name("99999999999999999999.log"), None, "beyond 63 bits");
        assert_eq!(parse_file_name("0000000000000000001\u{e4}.log"), None);
    }
}
