//! TLS settings of outbound sockets: what is trusted, and what a server's refusal of a client certificate looks like.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject};

pub(super) fn without_roots() -> Result<rustls::ClientConfig, String> {
    Ok(builder()?.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

pub(super) fn with_roots(extra_pem: &[String]) -> Result<rustls::ClientConfig, String> {
    let verifier = verifier(extra_pem, Vec::new())?;
    let builder = builder()?.dangerous().with_custom_certificate_verifier(verifier);
    Ok(builder.with_no_client_auth())
}

/// Trusts the operating system's certificates, the operator's and the connection's own.
pub(super) fn verifier(
    operators_pem: &[String],
    own: Vec<CertificateDer<'static>>,
) -> Result<Arc<rustls_platform_verifier::Verifier>, String> {
    let mut extra = own;
    for pem in operators_pem {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let error = |error| format!("root_certificates_pem holds something that is no PEM: {error}");
            extra.push(certificate.map_err(error)?.into_owned());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider);
    verifier.map(Arc::new).map_err(|error| {
        format!(
            "no certificates to verify https with ({error}); install the operating system's certificate \
             bundle (ca-certificates) or set root_certificates_pem"
        )
    })
}

pub(super) fn builder() -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, String>
{
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    builder.with_safe_default_protocol_versions().map_err(|error| format!("TLS is not usable: {error}"))
}

/// The alert of a server that wants another client certificate, or one at all. With TLS 1.3 it comes after the
/// client's side of the handshake; the server has not looked at any request then.
pub(super) fn refused_certificate(error: &std::io::Error) -> Option<rustls::AlertDescription> {
    use rustls::AlertDescription as Alert;
    let rustls::Error::AlertReceived(alert) = error.get_ref()?.downcast_ref::<rustls::Error>()? else {
        return None;
    };
    let about_certificates = matches!(
        alert,
        Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
    );
    about_certificates.then_some(*alert)
}
