//! Request and response headers, and the slice of the API table that the data plane needs to read them.
//!
//! The table is not written here: the control plane hands it down at start from `pykafkacore.protocol.apis`.

use crate::primitives::{Malformed, Range32, Reader, Result, Writer};

pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const METADATA: i16 = 3;
pub const API_VERSIONS: i16 = 18;

/// One row of the API table: what is accepted on a listener and which header flavour goes with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    pub api_key: i16,
    pub version_min: i16,
    pub version_max: i16,
    pub flexible_from: i16,
}

/// Rows indexed by api key.
#[derive(Clone, Debug, Default)]
pub struct ApiTable {
    rows: Vec<Option<Api>>,
}

impl ApiTable {
    pub fn new(rows: impl IntoIterator<Item = Api>) -> Self {
        let mut table = ApiTable::default();
        for row in rows {
            let key = usize::try_from(row.api_key).unwrap_or(0);
            if table.rows.len() <= key {
                table.rows.resize(key + 1, None);
            }
            table.rows[key] = Some(row);
        }
        table
    }

    pub fn get(&self, api_key: i16) -> Option<&Api> {
        self.rows.get(usize::try_from(api_key).ok()?)?.as_ref()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Range32>,
    pub flexible: bool,
    /// Where the body starts in the frame.
    pub body: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    Malformed(Malformed),
    UnknownApi { api_key: i16 },
    UnsupportedVersion { api_key: i16, api_version: i16 },
}

impl From<Malformed> for HeaderError {
    fn from(error: Malformed) -> Self {
        HeaderError::Malformed(error)
    }
}

impl std::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HeaderError::Malformed(error) => error.fmt(f),
            HeaderError::UnknownApi { api_key } => write!(f, "unknown or unoffered api key {api_key}"),
            HeaderError::UnsupportedVersion { api_key, api_version } => {
                write!(f, "unsupported version {api_version} of api key {api_key}")
            }
        }
    }
}

impl RequestHeader {
    /// Reads the header of `frame` (without its size). An unsupported version of ApiVersions passes, since it has an
    /// answer of its own (KIP-511); of any other API it has none, and the connection is closed.
    pub fn decode(frame: &[u8], apis: &ApiTable) -> std::result::Result<RequestHeader, HeaderError> {
        let mut reader = Reader::new(frame, 0);
        let api_key = reader.int16()?;
        let api_version = reader.int16()?;
        let correlation_id = reader.int32()?;
        let api = apis.get(api_key).ok_or(HeaderError::UnknownApi { api_key })?;
        let supported = (api.version_min..=api.version_max).contains(&api_version);
        if !supported && api_key != API_VERSIONS {
            return Err(HeaderError::UnsupportedVersion { api_key, api_version });
        }
        // KAFKA: 4.4 reads a negative version as not flexible, and one above the newest as flexible.
        let flexible = api_version >= api.flexible_from;
        let client_id = reader.nullable_string(false)?;
        reader.skip_tags(flexible)?;
        Ok(RequestHeader { api_key, api_version, correlation_id, client_id, flexible, body: reader.position() })
    }
}

/// Starts a response: room for the size, the correlation id, and the tag section of response header v1.
pub fn begin_response(writer: &mut Writer, correlation_id: i32, flexible_header: bool) {
    writer.int32(0);
    writer.int32(correlation_id);
    writer.no_tags(flexible_header);
}

/// Fills in the size of a response: what was written plus `elsewhere_bytes` that are sent from elsewhere.
pub fn finish_response(writer: &mut Writer, elsewhere_bytes: usize) -> Result<()> {
    let size = writer.bytes.len() - 4 + elsewhere_bytes;
    let size = i32::try_from(size).map_err(|_| Malformed { what: "response beyond 2 GiB", at: 0 })?;
    writer.bytes[..4].copy_from_slice(&size.to_be_bytes());
    Ok(())
}

/// A whole response around a body made by the control plane. KAFKA: ApiVersions always uses response header v0.
pub fn frame_response(api_key: i16, flexible: bool, correlation_id: i32, body: &[u8]) -> Result<Vec<u8>> {
    let mut writer = Writer::with_capacity(9 + body.len());
    begin_response(&mut writer, correlation_id, flexible && api_key != API_VERSIONS);
    writer.bytes.extend_from_slice(body);
    finish_response(&mut writer, 0)?;
    Ok(writer.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ApiTable {
        ApiTable::new([
            Api { api_key: 3, version_min: 0, version_max: 13, flexible_from: 9 },
            Api { api_key: API_VERSIONS, version_min: 0, version_max: 5, flexible_from: 3 },
        ])
    }

    #[test]
    fn a_flexible_header_keeps_a_plain_client_id_and_skips_its_tags() {
        let frame = [0, 3, 0, 9, 0, 0, 0, 7, 0, 1, b'c', 1, 5, 2, 9, 9, 42];
        let header = RequestHeader::decode(&frame, &table()).unwrap();
        assert_eq!(header.correlation_id, 7);
        assert_eq!(header.client_id.unwrap().of(&frame), b"c");
        assert_eq!(&frame[header.body..], &[42]);
    }

    #[test]
    fn only_api_versions_survives_an_unsupported_version() {
        let mut frame = vec![0, 3, 0, 99, 0, 0, 0, 7, 255, 255, 0];
        assert_eq!(
            RequestHeader::decode(&frame, &table()),
            Err(HeaderError::UnsupportedVersion { api_key: 3, api_version: 99 })
        );
        frame[1] = 18;
        assert!(RequestHeader::decode(&frame, &table()).is_ok());
        frame[1] = 4;
        assert_eq!(RequestHeader::decode(&frame, &table()), Err(HeaderError::UnknownApi { api_key: 4 }));
    }

    #[test]
    fn api_versions_answers_with_the_plain_header_even_when_flexible() {
        assert_eq!(frame_response(API_VERSIONS, true, 1, &[9]).unwrap(), [0, 0, 0, 5, 0, 0, 0, 1, 9]);
        assert_eq!(frame_response(3, true, 1, &[9]).unwrap(), [0, 0, 0, 6, 0, 0, 0, 1, 0, 9]);
    }
}
