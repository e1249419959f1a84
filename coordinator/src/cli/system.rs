//! `encoder-coordinator system …`

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use uuid::Uuid;

use super::{
    CliError,
    key_server::{Move, Renew},
    output::{self, Row},
    resource::{self, StoreArguments},
};
use crate::{
    outbound::{Reach, Target},
    store::{
        key_servers,
        systems::{self, SystemKind, SystemRow},
    },
};

#[derive(Args, Debug)]
pub(super) struct SystemArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an access system with its first site key
    Create(Create),
    /// List all access systems
    List(StoreArguments),
    /// Say where an access system's key server is asked from now on; its secret stays
    KeyServer(Move),
    /// Make a new secret for the questions to an access system's key server, shown once. They are signed with the old one
    /// too until `--end-old`, so that the key server can change over meanwhile
    KeyServerSecret(Renew),
}

#[derive(Args, Debug)]
struct Create {
    #[command(flatten)]
    store: StoreArguments,
    /// The workspace; may be left out where there is only one
    #[arg(long, value_name = "ID")]
    workspace: Option<Uuid>,
    /// The system's name
    #[arg(long)]
    name: String,
    /// The site's IANA time zone, for example Europe/Vienna
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// How the system's cards come to be
    #[arg(long, default_value = "embedded")]
    kind: Kind,
    /// The URL of the key server that makes the images of the system's cards
    #[arg(long, value_name = "URL")]
    key_server: Option<String>,
}

/// The kinds as the command line names them.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The embedded access system: key records are encoded onto cards
    Embedded,
    /// Like Brivo: cards are registered before, and assigned
    Brivo,
    /// Like Visionline: credentials take visionline_metadata
    Visionline,
    /// Like Salto Space: credentials take salto_space_metadata
    SaltoSpace,
    /// Like Salto KS: tags are registered by a scan that looks for new ones, and assigned
    SaltoKs,
    /// Like Vostio: credentials take assa_abloy_vostio_metadata
    Vostio,
    /// Like Hotek: credentials take hotek_metadata
    Hotek,
    /// The integrator's own format: the key server makes every card's image
    External,
}

impl From<Kind> for SystemKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Embedded => Self::Embedded,
            Kind::Brivo => Self::Brivo,
            Kind::Visionline => Self::Visionline,
            Kind::SaltoSpace => Self::SaltoSpace,
            Kind::SaltoKs => Self::SaltoKs,
            Kind::Vostio => Self::Vostio,
            Kind::Hotek => Self::Hotek,
            Kind::External => Self::External,
        }
    }
}

impl SystemArguments {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.action {
            Action::Create(create) => create.run().await,
            Action::List(arguments) => list(&arguments).await,
            Action::KeyServer(to) => to.run().await,
            Action::KeyServerSecret(renew) => renew.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), CliError> {
        let kind = self.kind.into();
        let server = self.target(kind)?;
        let (store, now) = self.store.open().await?;
        let mut conn = store.write().await?;
        let workspace = resource::workspace(&mut conn, self.workspace)
            .await?
            .workspace_id;
        let zone = self.time_zone.as_deref();
        let key = store.master_key();
        let system = systems::create(&mut conn, key, workspace, &self.name, zone, now).await?;
        let id = system.acs_system_id;
        systems::set_kind(&mut conn, id, kind).await?;
        let system = SystemRow { kind, ..system };
        let mut made = row(&system);
        if let Some(url) = server {
            let server = key_servers::create(&mut conn, key, id, url.as_str(), now).await?;
            made.push(("key_server", json!(server.url)));
            made.push(("key_server_secret", json!(server.key.secret().as_str())));
        }
        resource::note(&mut conn, "system.create", Some(workspace), id, now).await?;
        conn.commit().await?;
        store.close().await;
        output::one(made, self.store.json);
        Ok(())
    }

    /// The key server, where the kind has one. Whether the service may reach it shows when it is asked.
    fn target(&self, kind: SystemKind) -> Result<Option<Target>, CliError> {
        match &self.key_server {
            None if kind == SystemKind::External => Err(CliError::NoKeyServer),
            None => Ok(None),
            Some(_) if kind.assigns_cards() => Err(CliError::NothingToMake(kind.name())),
            Some(url) => Ok(Some(Target::parse(url, Reach::Private)?)),
        }
    }
}

async fn list(arguments: &StoreArguments) -> Result<(), CliError> {
    let (store, _) = arguments.open().await?;
    let systems = resource::all_systems(&mut *store.read().await?).await?;
    store.close().await;
    output::all(systems.iter().map(row).collect(), arguments.json);
    Ok(())
}

fn row(system: &SystemRow) -> Row {
    vec![
        ("acs_system_id", json!(system.acs_system_id)),
        ("workspace_id", json!(system.workspace_id)),
        ("name", json!(system.name)),
        ("time_zone", json!(system.time_zone)),
        ("kind", json!(system.kind)),
    ]
}
