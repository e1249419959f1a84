//! Who judges what the coordinator shows.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::Verifier;

use super::{Met, SharedPins, TlsProblem};
use crate::pairing::{Fingerprint, Pins, Shown, refusal};

/// Whom to believe.
#[derive(Debug)]
pub(super) enum Trust {
    System(Verifier),
    Pinned(SharedPins),
    PinnedOrSystem(Pins, Verifier),
    First {
        first: First,
        authorities: Vec<CertificateDer<'static>>,
        met: Met,
    },
}

/// Whom to believe at the first contact.
#[derive(Debug)]
pub(super) enum First {
    System(Verifier),
    By(Fingerprint),
}

/// Judges what the coordinator shows.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) trust: Trust,
    pub(super) provider: Arc<CryptoProvider>,
}

impl Judge {
    fn judge(&self, shown: &Shown<'_>, ocsp: &[u8]) -> Result<(), Error> {
        match &self.trust {
            Trust::System(verifier) => ask_system(verifier, shown, ocsp),
            Trust::Pinned(pins) => pins.check(shown),
            Trust::PinnedOrSystem(pins, verifier) => pins
                .check(shown)
                .or_else(|_| ask_system(verifier, shown, ocsp)),
            Trust::First {
                first,
                authorities,
                met,
            } => {
                match first {
                    First::System(verifier) => ask_system(verifier, shown, ocsp)?,
                    First::By(fingerprint) => check_fingerprint(*fingerprint, shown)?,
                }
                let others = [authorities.as_slice(), &possible_roots(shown)].concat();
                met.put(Pins::of(shown, &others));
                Ok(())
            }
        }
    }
}

fn check_fingerprint(wanted: Fingerprint, shown: &Shown<'_>) -> Result<(), Error> {
    shown.check_name_and_time()?;
    if shown.has(wanted) {
        return Ok(());
    }
    let found = shown.key().map_or_else(String::new, |key| key.to_string());
    Err(refusal(TlsProblem::OtherFingerprint {
        issuer: shown.issuer(),
        found,
    }))
}

fn ask_system(verifier: &Verifier, shown: &Shown<'_>, ocsp: &[u8]) -> Result<(), Error> {
    let Shown {
        certificate,
        chain,
        name,
        now,
        ..
    } = *shown;
    match verifier.verify_server_cert(certificate, chain, name, ocsp, now) {
        Ok(_) => Ok(()),
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            let issuer = shown.issuer();
            Err(refusal(TlsProblem::Untrusted { issuer }))
        }
        Err(error) => Err(error),
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Shown {
            certificate,
            chain,
            name,
            now,
            algorithms: self.provider.signature_verification_algorithms,
        };
        self.judge(&shown, ocsp)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// The system's authorities that may have issued one of these certificates, where they can be listed.
#[cfg(target_os = "linux")]
fn possible_roots(shown: &Shown<'_>) -> Vec<CertificateDer<'static>> {
    let mut roots = rustls_native_certs::load_native_certs().certs;
    roots.retain(|root| shown.may_be_from(root));
    roots
}

/// Elsewhere the system does not list them: what the coordinator sends along has to do.
#[cfg(not(target_os = "linux"))]
fn possible_roots(_: &Shown<'_>) -> Vec<CertificateDer<'static>> {
    Vec::new()
}
