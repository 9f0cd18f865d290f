"""Schemas of access control lists."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

DESCRIBE_ACLS_REQUEST = Message("DescribeAclsRequest", api_key=29, versions="1-3", flexible="2+", fields="""
    resource_type_filter  int8
    resource_name_filter  string  nullable
    pattern_type_filter   int8    default=3
    principal_filter      string  nullable
    host_filter           string  nullable
    operation             int8
    permission_type       int8
""")

DESCRIBE_ACLS_RESPONSE = Message("DescribeAclsResponse", api_key=29, versions="1-3", flexible="2+", fields="""
    throttle_time_ms         int32
    error_code               int16
    error_message            string                  nullable
    resources                []DescribeAclsResource
        resource_type        int8
        resource_name        string
        pattern_type         int8                    default=3
        acls                 []AclDescription
            principal        string
            host             string
            operation        int8
            permission_type  int8
""")

CREATE_ACLS_REQUEST = Message("CreateAclsRequest", api_key=30, versions="1-3", flexible="2+", fields="""
    creations                  []AclCreation
        resource_type          int8
        resource_name          string
        resource_pattern_type  int8           default=3
        principal              string
        host                   string
        operation              int8
        permission_type        int8
""")

CREATE_ACLS_RESPONSE = Message("CreateAclsResponse", api_key=30, versions="1-3", flexible="2+", fields="""
    throttle_time_ms   int32
    results            []AclCreationResult
        error_code     int16
        error_message  string               nullable
""")

DELETE_ACLS_REQUEST = Message("DeleteAclsRequest", api_key=31, versions="1-3", flexible="2+", fields="""
    filters                   []DeleteAclsFilter
        resource_type_filter  int8
        resource_name_filter  string              nullable
        pattern_type_filter   int8                default=3
        principal_filter      string              nullable
        host_filter           string              nullable
        operation             int8
        permission_type       int8
""")

DELETE_ACLS_RESPONSE = Message("DeleteAclsResponse", api_key=31, versions="1-3", flexible="2+", fields="""
    throttle_time_ms         int32
    filter_results           []DeleteAclsFilterResult
        error_code           int16
        error_message        string                    nullable
        matching_acls        []DeleteAclsMatchingAcl
            error_code       int16
            error_message    string                    nullable
            resource_type    int8
            resource_name    string
            pattern_type     int8                      default=3
            principal        string
            host             string
            operation        int8
            permission_type  int8
""")
