"""Schemas of configuration."""

from __future__ import annotations

from pykafkacore.protocol.schema import Message

DESCRIBE_CONFIGS_REQUEST = Message("DescribeConfigsRequest", api_key=32, versions="1-4", flexible="4+", fields="""
    resources               []DescribeConfigsResource
        resource_type       int8
        resource_name       string
        configuration_keys  []string                   nullable
    include_synonyms        bool
    include_documentation   bool                       3+
""")

DESCRIBE_CONFIGS_RESPONSE = Message("DescribeConfigsResponse", api_key=32, versions="1-4", flexible="4+", fields="""
    throttle_time_ms       int32
    results                []DescribeConfigsResult
        error_code         int16
        error_message      string                           nullable
        resource_type      int8
        resource_name      string
        configs            []DescribeConfigsResourceResult
            name           string
            value          string                           nullable
            read_only      bool
            config_source  int8                             default=-1 ignorable
            is_sensitive   bool
            synonyms       []DescribeConfigsSynonym         ignorable
                name       string
                value      string                           nullable
                source     int8
            config_type    int8                             3+ ignorable
            documentation  string                           3+ nullable ignorable
""")

ALTER_CONFIGS_REQUEST = Message("AlterConfigsRequest", api_key=33, versions="0-2", flexible="2+", fields="""
    resources          []AlterConfigsResource
        resource_type  int8
        resource_name  string
        configs        []AlterableConfig
            name       string
            value      string                  nullable
    validate_only      bool
""")

ALTER_CONFIGS_RESPONSE = Message("AlterConfigsResponse", api_key=33, versions="0-2", flexible="2+", fields="""
    throttle_time_ms   int32
    responses          []AlterConfigsResourceResponse
        error_code     int16
        error_message  string                          nullable
        resource_type  int8
        resource_name  string
""")

INCREMENTAL_ALTER_CONFIGS_REQUEST = Message(
    "IncrementalAlterConfigsRequest", api_key=44, versions="0-1", flexible="1+", fields="""
    resources                 []AlterConfigsResource
        resource_type         int8
        resource_name         string
        configs               []AlterableConfig
            name              string
            config_operation  int8
            value             string                  nullable
    validate_only             bool
""")

INCREMENTAL_ALTER_CONFIGS_RESPONSE = Message(
    "IncrementalAlterConfigsResponse", api_key=44, versions="0-1", flexible="1+", fields="""
    throttle_time_ms   int32
    responses          []AlterConfigsResourceResponse
        error_code     int16
        error_message  string                          nullable
        resource_type  int8
        resource_name  string
""")

LIST_CONFIG_RESOURCES_REQUEST = Message(
    "ListConfigResourcesRequest", api_key=74, versions="0-1", flexible="0+", fields="""
    resource_types  []int8  1+
""")

LIST_CONFIG_RESOURCES_RESPONSE = Message(
    "ListConfigResourcesResponse", api_key=74, versions="0-1", flexible="0+", fields="""
    throttle_time_ms   int32
    error_code         int16
    config_resources   []ConfigResource
        resource_name  string
        resource_type  int8              1+ default=16 ignorable
""")
