//! Fates: what is told of each directive that nothing else looks at.

use super::{scope::Ledger, syntax::Directive};

/// Directives, and why they are not in what is printed.
const FATES: &[(&[&str], &str)] = &[
    (&["http", "events", "stream", "types", "server", "upstream"], ""),
    (
        &[
            "worker_processes",
            "worker_connections",
            "worker_rlimit_nofile",
            "worker_cpu_affinity",
            "worker_priority",
            "use",
            "multi_accept",
            "accept_mutex",
            "sendfile",
            "tcp_nopush",
            "tcp_nodelay",
            "aio",
            "directio",
            "sendfile_max_chunk",
            "types_hash_max_size",
            "types_hash_bucket_size",
            "server_names_hash_bucket_size",
            "server_names_hash_max_size",
            "variables_hash_max_size",
            "variables_hash_bucket_size",
            "map_hash_bucket_size",
            "map_hash_max_size",
            "proxy_headers_hash_max_size",
            "proxy_headers_hash_bucket_size",
            "pcre_jit",
            "thread_pool",
            "daemon",
            "master_process",
            "timer_resolution",
            "open_file_cache",
            "open_file_cache_valid",
            "open_file_cache_min_uses",
            "open_file_cache_errors",
            "output_buffers",
            "postpone_output",
            "reset_timedout_connection",
        ],
        "this needs no setting here",
    ),
    (
        &[
            "proxy_http_version",
            "proxy_socket_keepalive",
            "proxy_cache_revalidate",
            "proxy_cache_convert_head",
            "proxy_force_ranges",
            "gzip_vary",
            "gzip_static",
            "http2",
            "http2_push_preload",
            "ssl_session_cache",
            "ssl_session_timeout",
            "ssl_session_tickets",
            "ssl_session_ticket_key",
            "ssl_prefer_server_ciphers",
            "real_ip_recursive",
            "proxy_ssl_server_name",
            "proxy_ssl_session_reuse",
            "proxy_cache_lock_timeout",
            "proxy_cache_lock_age",
            "merge_slashes",
            "absolute_redirect",
            "port_in_redirect",
            "server_name_in_redirect",
            "server_tokens",
            "charset",
            "default_type",
        ],
        "it is so, or not needed, in any case",
    ),
    (
        &[
            "proxy_buffers",
            "proxy_buffer_size",
            "proxy_busy_buffers_size",
            "proxy_max_temp_file_size",
            "proxy_temp_file_write_size",
            "proxy_temp_path",
            "client_body_temp_path",
            "client_body_buffer_size",
            "proxy_buffering",
            "proxy_request_buffering",
            "fastcgi_temp_path",
            "uwsgi_temp_path",
            "scgi_temp_path",
            "proxy_ignore_client_abort",
            "proxy_limit_rate",
            "subrequest_output_buffer_size",
        ],
        "nothing is written to disk, and bodies pass as they come",
    ),
    (
        &[
            "gzip_comp_level",
            "gzip_buffers",
            "gzip_http_version",
            "gzip_disable",
            "gzip_proxied",
            "gzip_window",
            "gzip_hash",
            "brotli_comp_level",
            "brotli_static",
            "brotli_min_length",
        ],
        "each form is made once, as well as it can be",
    ),
    (
        &["gzip", "gzip_types", "gzip_min_length", "brotli", "brotli_types", "zstd", "zstd_types"],
        "only what is stored is compressed here: let the service do it, or store its answers",
    ),
    (
        &[
            "access_log",
            "log_format",
            "log_not_found",
            "log_subrequest",
            "open_log_file_cache",
            "rewrite_log",
        ],
        "Larder has its own form of lines: see docs/config.md",
    ),
    (&["error_log"], "the log goes to standard error: see [log]"),
    (
        &["user", "pid", "lock_file", "working_directory", "env", "debug_points"],
        "that is for whoever starts Larder: a unit of systemd",
    ),
    (
        &["load_module", "perl_modules", "perl_require", "lua_package_path", "lua_shared_dict"],
        "there are no modules",
    ),
    (
        &["resolver", "resolver_timeout"],
        "names are looked up as the system does it, again every resolve_every of [upstream.NAME]",
    ),
    (&["client_max_body_size"], "say max_request_body in the route"),
    (&["client_header_timeout"], "say head_timeout in [server]"),
    (&["client_body_timeout"], "say body_timeout in [server]"),
    (&["send_timeout"], "say write_timeout in [server]"),
    (
        &[
            "keepalive_timeout",
            "keepalive_requests",
            "keepalive_time",
            "keepalive_disable",
            "lingering_close",
            "lingering_time",
            "lingering_timeout",
        ],
        "say idle_timeout in [server]",
    ),
    (
        &["client_header_buffer_size", "large_client_header_buffers"],
        "say max_head and max_request_line in [server]",
    ),
    (
        &[
            "limit_req",
            "limit_req_zone",
            "limit_req_status",
            "limit_req_log_level",
            "limit_req_dry_run",
        ],
        "say requests_per_address in [server]: what is too much is answered 429",
    ),
    (
        &["limit_conn", "limit_conn_zone", "limit_conn_status", "limit_conn_log_level"],
        "say max_connections_per_address in [server]",
    ),
    (&["limit_rate", "limit_rate_after"], "answers are not slowed down"),
    (
        &["rewrite", "break", "last"],
        "paths are changed by strip_prefix and add_prefix only: let the service know both",
    ),
    (
        &["if"],
        "LOOK AT THIS: what it says does not hold any more. Routes go by header, query and methods",
    ),
    (
        &["set", "map", "geo", "split_clients", "geoip_country", "geoip2", "auth_request_set"],
        "there are no variables",
    ),
    (
        &["error_page", "proxy_intercept_errors", "recursive_error_pages"],
        "errors of the service pass as they are; maintenance_page is what readers get while it gives no answer",
    ),
    (
        &[
            "sub_filter",
            "sub_filter_once",
            "sub_filter_types",
            "addition_types",
            "ssi",
            "image_filter",
            "xslt_stylesheet",
            "add_after_body",
            "add_before_body",
        ],
        "bodies are not changed",
    ),
    (&["mirror", "mirror_request_body"], "requests are not copied"),
    (
        &["expires", "etag", "if_modified_since"],
        "let the service say how long readers keep its answers",
    ),
    (&["add_trailer"], "say it in the service"),
    (
        &["proxy_redirect"],
        "Location is turned back where strip_prefix, add_prefix or upstream_host say another place",
    ),
    (
        &["proxy_cookie_path", "proxy_cookie_domain", "proxy_cookie_flags"],
        "cookies pass as they are",
    ),
    (&["proxy_send_timeout"], "a service that takes nothing is given up with first_byte_timeout"),
    (
        &["proxy_next_upstream", "proxy_next_upstream_timeout", "proxy_next_upstream_tries"],
        "with one address nothing is sent elsewhere; see [upstream.NAME.retry]",
    ),
    (
        &[
            "proxy_bind",
            "proxy_method",
            "proxy_set_body",
            "proxy_pass_request_headers",
            "proxy_pass_request_body",
            "proxy_pass_header",
            "proxy_store",
            "proxy_store_access",
            "proxy_headers_hash",
        ],
        "requests pass as they are",
    ),
    (
        &["proxy_ssl_certificate", "proxy_ssl_certificate_key"],
        "say client_certificate and client_key in [upstream.NAME.tls]",
    ),
    (&["proxy_ssl_trusted_certificate"], "say ca_file in [upstream.NAME.tls]"),
    (
        &[
            "proxy_ssl_protocols",
            "proxy_ssl_ciphers",
            "proxy_ssl_verify",
            "proxy_ssl_verify_depth",
            "proxy_ssl_crl",
            "proxy_ssl_name",
        ],
        "certificates of services are checked, over TLS 1.2 or 1.3: see [upstream.NAME.tls]",
    ),
    (
        &[
            "ssl_ciphers",
            "ssl_ecdh_curve",
            "ssl_dhparam",
            "ssl_conf_command",
            "ssl_early_data",
            "ssl_buffer_size",
        ],
        "the ciphers are those that are safe today",
    ),
    (
        &[
            "ssl_stapling",
            "ssl_stapling_verify",
            "ssl_trusted_certificate",
            "ssl_client_certificate",
            "ssl_crl",
            "ssl_verify_depth",
            "ssl_password_file",
            "ssl_reject_handshake",
        ],
        "there is nothing like it here",
    ),
    (
        &["ssl_certificate", "ssl_certificate_key", "ssl_protocols", "ssl"],
        "nothing listens with it",
    ),
    (
        &["proxy_cache_path"],
        "answers are in memory, and not on disk: say how much of it in [memory] size",
    ),
    (
        &["proxy_cache_purge", "cache_purge"],
        "say who may purge in [purge] allow, by address, or purge at the admin API",
    ),
    (&["proxy_cache_max_range_offset", "slice"], "parts are cut from what is stored whole"),
    (
        &[
            "fastcgi_cache",
            "fastcgi_cache_path",
            "fastcgi_cache_key",
            "fastcgi_cache_valid",
            "fastcgi_cache_bypass",
            "fastcgi_no_cache",
            "fastcgi_cache_use_stale",
            "fastcgi_cache_lock",
            "fastcgi_cache_methods",
            "fastcgi_cache_min_uses",
            "fastcgi_cache_background_update",
            "fastcgi_cache_revalidate",
            "fastcgi_ignore_headers",
            "fastcgi_pass",
            "fastcgi_param",
            "fastcgi_index",
            "fastcgi_split_path_info",
            "fastcgi_buffers",
            "fastcgi_buffer_size",
            "fastcgi_read_timeout",
            "fastcgi_intercept_errors",
            "fastcgi_hide_header",
        ],
        "Larder speaks HTTP to services, not FastCGI",
    ),
    (
        &[
            "root",
            "alias",
            "index",
            "try_files",
            "autoindex",
            "satisfy",
            "internal",
            "disable_symlinks",
        ],
        "Larder serves no files",
    ),
    (
        &["deny", "allow", "return", "auth_basic", "auth_request"],
        "LOOK AT THIS: what it refuses is not refused any more",
    ),
    (&["location"], "nothing leads there"),
    (&["real_ip_header", "set_real_ip_from"], "there is nobody to believe: see trusted_peers"),
];

/// Tells of all that has not been carried over.
pub(super) fn of_the_rest(directives: &[Directive], ledger: &mut Ledger) {
    for one in directives {
        if one.name == "stream" {
            ledger.note(one, "Larder speaks HTTP only");
            continue;
        }
        if !ledger.has(one) {
            let known = FATES.iter().find(|(names, _)| names.contains(&one.name.as_str()));
            match known {
                // What matters is what stands in it.
                Some((_, "")) => {}
                Some((_, why)) => ledger.note(one, *why),
                None if one.name.starts_with("proxy_cache")
                    || one.name == "proxy_no_cache"
                    || one.name == "proxy_ignore_headers" =>
                {
                    ledger.note(one, "nothing is stored where it holds");
                }
                None if one.name.starts_with("proxy_")
                    || matches!(one.name.as_str(), "add_header" | "server_name" | "listen") =>
                {
                    ledger.note(one, "nothing that is carried over goes by it");
                }
                None => ledger.note(one, "Larder does not know it"),
            }
        }
        // Tables of names and values are one thing with what they stand in.
        if !matches!(one.name.as_str(), "map" | "geo" | "types" | "split_clients") {
            of_the_rest(one.block(), ledger);
        }
    }
}
