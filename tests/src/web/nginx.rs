//! nginx with the routes of the other servers, in the clear and over TLS.
#![forbid(unsafe_code)]

use std::{fs, path::Path};

use anyhow::Result;

use super::{Version, Wire};
use crate::{
    certificate::Certificate,
    nginx::{http_preamble, preamble},
    process::{Address, Process},
    scope::Scope,
};

/// Sizes that `/bytes/` has.
const SIZES: [usize; 4] = [0, 100, 3000, 40_000];

pub(super) fn start(
    scope: &Scope,
    directory: &Path,
    port: u16,
    wire: Wire,
    certificate: Option<&Certificate>,
    ktls: bool,
) -> Result<Process> {
    fs::create_dir(directory.join("bytes"))?;
    for size in SIZES {
        fs::write(directory.join(format!("bytes/{size}")), vec![b'b'; size])?;
    }
    let mut listen = format!("127.0.0.1:{port}");
    if wire.version == Version::H2 {
        // Since 1.25.1 there is `http2 on`, and this is deprecated; Debian 12 has 1.22.
        listen.push_str(" http2");
    }
    let mut tls = String::new();
    if let Some(certificate) = certificate {
        listen.push_str(" ssl");
        let (chain, key) = (certificate.chain(), certificate.key());
        tls = format!(
            "ssl_certificate {};\nssl_certificate_key {};\nssl_protocols TLSv1.2 TLSv1.3;\n",
            chain.display(),
            key.display()
        );
    }
    if ktls {
        tls.push_str("ssl_conf_command Options KTLS;\nsendfile on;\n");
    }
    let statuses: String =
        [404, 500].map(|code| format!("location /status/{code}/ {{ return {code} 'status\\n'; }}\n")).concat();
    // `return` alone answers before the request's body has come, and some clients take what follows for an error.
    // `mirror` reads it first; then the file refuses the method.
    let configuration = format!(
        "{}http {{\n{}keepalive_requests 100000;\nhttp2_max_concurrent_streams 1000;\nclient_max_body_size 10m;\n\
         server {{\nlisten {listen};\n{tls}root {root};\n\
         location /hello/ {{ return 200 'hello\\n'; }}\n\
         location ~ ^/echo/ {{ mirror /nowhere/; alias {root}/bytes/100; error_page 405 =200 @echo; }}\n\
         location /nowhere/ {{ internal; return 204; }}\n\
         location @echo {{ return 200 'echo\\n'; }}\n\
         location /slow/ {{ return 200 'slow\\n'; }}\n\
         location ~ ^/bytes/(\\d+)/ {{ alias {root}/bytes/$1; }}\n\
         location /status/204/ {{ return 204; }}\n\
         {statuses}}}\n}}\n",
        preamble(2),
        http_preamble(),
        root = directory.display(),
    );
    crate::nginx::start(scope, directory, &configuration, &Address::local(port))
}
