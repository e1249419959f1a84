//! `[coordinator]`: whom to connect to, and by which token.

use std::path::{Path, PathBuf};

use super::{
    ConfigError, CoordinatorUrl, Layers, ProxySettings, Secret, Unpaired, directory_path, pairing,
    parse_token, proxy, table::Table,
};
use crate::pairing::Pairing;

pub(super) const KEYS: &[&str] = &[
    "url",
    "token",
    "token_file",
    "insecure",
    "extra_ca_file",
    "accept_inspection",
    "client_certificate",
    "client_key",
    "proxy",
];

const URL_EXPECTED: &str = "the coordinator's base url such as \"wss://keys.example.com\"";
const TOKEN_EXPECTED: &str = "the agent's token as a text";

/// `[coordinator]`: whom to connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CoordinatorSettings {
    /// `url`: the base URL; the agent adds the path.
    pub url: CoordinatorUrl,
    /// `token` or `token_file`, else that of the pairing.
    pub token: TokenSetting,
    /// What the agent was paired with, where its token is the one that counts.
    pub pairing: Option<Pairing>,
    /// `accept_inspection`: whether a certificate will do that the system trusts and that is not the one of the pairing.
    pub accept_inspection: bool,
    /// `client_certificate` and `client_key`: what the agent shows to a proxy that asks for it.
    pub client_certificate: Option<ClientCertificate>,
    /// `extra_ca_file`: a PEM file with certificates to trust besides those of the system.
    pub extra_ca_file: Option<PathBuf>,
    /// `proxy`, else that of the environment: the HTTP proxy that opens the way.
    pub proxy: Option<ProxySettings>,
}

impl CoordinatorSettings {
    /// A coordinator by its URL and a token, and nothing else said.
    pub fn new(url: CoordinatorUrl, token: TokenSetting) -> Self {
        Self {
            url,
            token,
            pairing: None,
            accept_inspection: false,
            client_certificate: None,
            extra_ca_file: None,
            proxy: None,
        }
    }
}

/// A certificate of the agent's own, and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// A PEM file with the certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

/// Where the token comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenSetting {
    /// The pairing in this file.
    Paired(PathBuf),
    /// Nowhere yet: the agent is not paired.
    None,
    /// `token`: it stands in the settings.
    Text(Secret),
    /// `token_file`: it is read from a file before every connection.
    File(PathBuf),
}

/// Whom to connect to, as far as the settings and the pairing tell; and why there is no token, where there is none.
pub(super) fn read(
    table: &Table<'_>,
    layers: &Layers,
    pairing: impl FnOnce() -> Result<Option<Pairing>, Unpaired>,
) -> Result<(Option<CoordinatorSettings>, Option<Unpaired>), ConfigError> {
    let listed = url(table)?;
    let token = token(table, layers.file.as_path())?;
    let (token, pairing, unpaired) = match (token, &listed) {
        (Some(_), None) => return Err(table.missing("url", URL_EXPECTED)),
        (Some(token), Some(_)) => (token, None, None),
        (None, _) => match pairing::that_counts(pairing(), listed.as_ref()) {
            Ok(pairing) => (
                TokenSetting::Paired(pairing.file.clone()),
                Some(pairing),
                None,
            ),
            Err(unpaired) => (TokenSetting::None, None, Some(unpaired)),
        },
    };
    let paired_with = pairing.as_ref().map(|pairing| pairing.url.clone());
    let Some(url) = listed.or(paired_with) else {
        return Ok((None, unpaired));
    };
    check_encryption(table, &url)?;
    let coordinator = CoordinatorSettings {
        proxy: proxy::read(table, &url, &layers.environment)?,
        pairing,
        accept_inspection: table.boolean("accept_inspection")?.unwrap_or(false),
        client_certificate: client_certificate(table, layers.file.as_path())?,
        extra_ca_file: directory_path(
            table,
            "extra_ca_file",
            layers.file.as_path(),
            "the path of a PEM file with certificates",
        )?,
        ..CoordinatorSettings::new(url, token)
    };
    Ok((Some(coordinator), unpaired))
}

fn url(table: &Table<'_>) -> Result<Option<CoordinatorUrl>, ConfigError> {
    let Some(text) = table.text("url", URL_EXPECTED)? else {
        return Ok(None);
    };
    let url = CoordinatorUrl::parse(&text).map_err(|problem| {
        table.bad(
            "url",
            problem.to_string(),
            format!("expected {URL_EXPECTED}"),
        )
    })?;
    Ok(Some(url))
}

fn check_encryption(table: &Table<'_>, url: &CoordinatorUrl) -> Result<(), ConfigError> {
    let insecure = table.boolean("insecure")?.unwrap_or(false);
    if url.is_secure() || url.is_loopback() || insecure {
        return Ok(());
    }
    Err(table.bad(
        "url",
        format!(
            "{url} is not encrypted, and {} is another machine",
            url.host()
        ),
        "use wss:// or https://, or set coordinator.insecure = true if the network is trusted",
    ))
}

fn client_certificate(
    table: &Table<'_>,
    file: &Path,
) -> Result<Option<ClientCertificate>, ConfigError> {
    const CERTIFICATE: &str = "the path of a PEM file with the agent's certificate";
    const KEY: &str = "the path of a PEM file with the certificate's private key";
    let certificate = directory_path(table, "client_certificate", file, CERTIFICATE)?;
    let key = directory_path(table, "client_key", file, KEY)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(ClientCertificate { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(table.missing("client_key", KEY)),
        (None, Some(_)) => Err(table.missing("client_certificate", CERTIFICATE)),
    }
}

/// The token that the settings give; none where the pairing has to.
fn token(table: &Table<'_>, file: &Path) -> Result<Option<TokenSetting>, ConfigError> {
    let text = table.text("token", TOKEN_EXPECTED)?.map(Secret::new);
    let token_file = directory_path(table, "token_file", file, "the path of a file")?;
    match (text, token_file) {
        (Some(_), Some(_)) => Err(table.bad(
            "token",
            "`token` and `token_file` are both given",
            "keep one of them",
        )),
        (None, Some(path)) => Ok(Some(TokenSetting::File(path))),
        (Some(text), None) => parse_token(text.expose())
            .map(|token| Some(TokenSetting::Text(token)))
            .map_err(|problem| {
                table.bad(
                    "token",
                    format!("cannot be a token: {problem}"),
                    "copy the token as the coordinator printed it",
                )
            }),
        (None, None) => Ok(None),
    }
}
