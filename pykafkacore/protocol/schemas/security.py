"""Schemas of authentication, delegation tokens and SCRAM credentials."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

SASL_HANDSHAKE_REQUEST = Message("SaslHandshakeRequest", api_key=17, versions="0-1", fields="""
    mechanism  string
""")

SASL_HANDSHAKE_RESPONSE = Message("SaslHandshakeResponse", api_key=17, versions="0-1", fields="""
    error_code  int16
    mechanisms  []string
""")

SASL_AUTHENTICATE_REQUEST = Message("SaslAuthenticateRequest", api_key=36, versions="0-2", flexible="2+", fields="""
    auth_bytes  bytes
""")

SASL_AUTHENTICATE_RESPONSE = Message("SaslAuthenticateResponse", api_key=36, versions="0-2", flexible="2+", fields="""
    error_code           int16
    error_message        string  nullable
    auth_bytes           bytes
    session_lifetime_ms  int64   1+ ignorable
""")

CREATE_DELEGATION_TOKEN_REQUEST = Message(
    "CreateDelegationTokenRequest", api_key=38, versions="1-3", flexible="2+", fields="""
    owner_principal_type  string               3+ nullable
    owner_principal_name  string               3+ nullable
    renewers              []CreatableRenewers
        principal_type    string
        principal_name    string
    max_lifetime_ms       int64
""")

CREATE_DELEGATION_TOKEN_RESPONSE = Message(
    "CreateDelegationTokenResponse", api_key=38, versions="1-3", flexible="2+", fields="""
    error_code                      int16
    principal_type                  string
    principal_name                  string
    token_requester_principal_type  string  3+
    token_requester_principal_name  string  3+
    issue_timestamp_ms              int64
    expiry_timestamp_ms             int64
    max_timestamp_ms                int64
    token_id                        string
    hmac                            bytes
    throttle_time_ms                int32
""")

RENEW_DELEGATION_TOKEN_REQUEST = Message(
    "RenewDelegationTokenRequest", api_key=39, versions="1-2", flexible="2+", fields="""
    hmac             bytes
    renew_period_ms  int64
""")

RENEW_DELEGATION_TOKEN_RESPONSE = Message(
    "RenewDelegationTokenResponse", api_key=39, versions="1-2", flexible="2+", fields="""
    error_code           int16
    expiry_timestamp_ms  int64
    throttle_time_ms     int32
""")

EXPIRE_DELEGATION_TOKEN_REQUEST = Message(
    "ExpireDelegationTokenRequest", api_key=40, versions="1-2", flexible="2+", fields="""
    hmac                   bytes
    expiry_time_period_ms  int64
""")

EXPIRE_DELEGATION_TOKEN_RESPONSE = Message(
    "ExpireDelegationTokenResponse", api_key=40, versions="1-2", flexible="2+", fields="""
    error_code           int16
    expiry_timestamp_ms  int64
    throttle_time_ms     int32
""")

DESCRIBE_DELEGATION_TOKEN_REQUEST = Message(
    "DescribeDelegationTokenRequest", api_key=41, versions="1-3", flexible="2+", fields="""
    owners              []DescribeDelegationTokenOwner  nullable
        principal_type  string
        principal_name  string
""")

DESCRIBE_DELEGATION_TOKEN_RESPONSE = Message(
    "DescribeDelegationTokenResponse", api_key=41, versions="1-3", flexible="2+", fields="""
    error_code                          int16
    tokens                              []DescribedDelegationToken
        principal_type                  string
        principal_name                  string
        token_requester_principal_type  string                             3+
        token_requester_principal_name  string                             3+
        issue_timestamp                 int64
        expiry_timestamp                int64
        max_timestamp                   int64
        token_id                        string
        hmac                            bytes
        renewers                        []DescribedDelegationTokenRenewer
            principal_type              string
            principal_name              string
    throttle_time_ms                    int32
""")

DESCRIBE_USER_SCRAM_CREDENTIALS_REQUEST = Message(
    "DescribeUserScramCredentialsRequest", api_key=50, versions="0", flexible="0+", fields="""
    users     []UserName  nullable
        name  string
""")

DESCRIBE_USER_SCRAM_CREDENTIALS_RESPONSE = Message(
    "DescribeUserScramCredentialsResponse", api_key=50, versions="0", flexible="0+", fields="""
    throttle_time_ms      int32
    error_code            int16
    error_message         string                                nullable
    results               []DescribeUserScramCredentialsResult
        user              string
        error_code        int16
        error_message     string                                nullable
        credential_infos  []CredentialInfo
            mechanism     int8
            iterations    int32
""")

ALTER_USER_SCRAM_CREDENTIALS_REQUEST = Message(
    "AlterUserScramCredentialsRequest", api_key=51, versions="0", flexible="0+", fields="""
    deletions            []ScramCredentialDeletion
        name             string
        mechanism        int8
    upsertions           []ScramCredentialUpsertion
        name             string
        mechanism        int8
        iterations       int32
        salt             bytes
        salted_password  bytes
""")

ALTER_USER_SCRAM_CREDENTIALS_RESPONSE = Message(
    "AlterUserScramCredentialsResponse", api_key=51, versions="0", flexible="0+", fields="""
    throttle_time_ms   int32
    results            []AlterUserScramCredentialsResult
        user           string
        error_code     int16
        error_message  string                             nullable
""")

DEFAULT_PRINCIPAL_DATA = Message("DefaultPrincipalData", versions="0", flexible="0+", fields="""
    type                 string
    name                 string
    token_authenticated  bool
""")
