//! One TLS for all probes: rustls with ring. Built only where a connection may need it.
//! Never accepts less than what the configuration asks for.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, WantsVerifier,
};
use x509_cert::der::Decode;

use crate::snapshot::certificate::Certificate;

/// How far a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Encrypted, not authenticated: libpq's `prefer` and `require`.
    Nothing,
    /// The chain, not the name: `verify-ca`.
    Chain,
    /// The chain and the name: `verify-full`, and https.
    Name,
}

/// Which authorities are believed.
pub enum Roots<'a> {
    None,
    System,
    /// A PEM file.
    File(&'a Path),
}

type Provider = Arc<CryptoProvider>;

/// With the name checked, as https has it: who asks reads the certificate off its stream.
pub fn config(roots: &Roots) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    Ok(builder(&provider)?.with_root_certificates(store(roots)?).with_no_client_auth())
}

/// The same as far as it is wanted, for a library that keeps the stream to itself: what is shown is noted.
pub fn noting(check: Check, roots: &Roots) -> Result<(ClientConfig, Shown), String> {
    let provider = Arc::new(ring::default_provider());
    let chain = match check {
        Check::Nothing => None,
        Check::Chain | Check::Name => {
            let chain =
                WebPkiServerVerifier::builder_with_provider(Arc::new(store(roots)?), provider.clone());
            Some(chain.build().map_err(|e| format!("the root certificates can't be used: {e}"))?)
        }
    };
    let shown = Shown::default();
    let by_name = check == Check::Name;
    let verifier = Noting { provider: provider.clone(), chain, by_name, shown: shown.clone() };
    let config = builder(&provider)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok((config.with_no_client_auth(), shown))
}

fn builder(provider: &Provider) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())
}

/// Of the chain that a server showed its own. What can't be read is not known: that is no reason to
/// refuse it.
pub fn shown(chain: Option<&[CertificateDer]>) -> Option<Certificate> {
    let own = x509_cert::Certificate::from_der(chain?.first()?).ok()?;
    // One without an end is dated to the last second of 9999, which is after the last that is known here.
    let at = |t: x509_cert::time::Time| {
        let seconds = t.to_unix_duration().as_secs().try_into().unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    };
    let validity = own.tbs_certificate.validity;
    Some(Certificate { begins: at(validity.not_before), ends: at(validity.not_after) })
}

/// What the server showed in the handshake; nothing before it.
pub type Shown = Arc<OnceLock<Option<Certificate>>>;

fn store(roots: &Roots) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::None => {}
        Roots::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Roots::File(path) => {
            let bad = |e: String| {
                let why = e.split(" (os error").next().unwrap_or_default();
                format!("the root certificates in {} can't be read: {why}", path.display())
            };
            let certs = CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))?;
            for cert in certs {
                let cert = cert.map_err(|e| bad(e.to_string()))?;
                store.add(cert).map_err(|e| bad(e.to_string()))?;
            }
            if store.is_empty() {
                return Err(bad("no certificate in it".into()));
            }
        }
    }
    Ok(store)
}

/// Checks the name as well, the chain or nothing, as libpq's modes do; signatures always. Notes what is shown.
#[derive(Debug)]
struct Noting {
    provider: Provider,
    chain: Option<Arc<WebPkiServerVerifier>>,
    by_name: bool,
    shown: Shown,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.shown.get_or_init(|| shown(Some(std::slice::from_ref(end_entity))));
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.by_name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
