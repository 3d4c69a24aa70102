//! TLS to the database, where the service's URL asks for it: `sslmode=verify-full`.
//! The driver's own parser does not know the authority's file.

use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The URL as the driver reads it, and how to verify the server.
pub fn asked_for(url: &str) -> Result<(String, Option<MakeRustlsConnect>)> {
    let Some((before, file)) = url.split_once("?sslmode=verify-full&sslrootcert=") else {
        return Ok((url.to_owned(), None));
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).with_context(|| format!("cannot read {file}"))? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((format!("{before}?sslmode=require"), Some(MakeRustlsConnect::new(config))))
}
