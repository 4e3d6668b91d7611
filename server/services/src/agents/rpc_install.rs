//! How `vctl` of every generation installs: version 6 `install_agent(filename, channel_name, vip_identity, publickey, secretkey)` and
//! `install_agent_local(path, ...)`, 7 to 9 the same with `force`, 10 with `pre_release` and `agent_config` after that, modular ones
//! `install_agent({source, data, identity, ...})`. Source: agents.md §1.11, vip-zmq.md §8.2, modular `volttron/types/agent_context.py`.
//!
//! Differs from VOLTTRON: keys that a client hands along are not taken; the platform makes an agent's key, so that nobody else has it.
//! A directory, which modular `vctl` always asks to be installed "editable", is installed as it is now, like any other package: agents do
//! not share an environment here, are put into place as a whole, and go on to work whatever becomes of the directory. Installing it again
//! with `--force` takes what was changed there.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vt_agent::{Call, MethodTable};
use vt_backends::PackageSource;
use vt_backends::packages::PACKAGE_BYTES_MAX;
use vt_types::identity::known;
use vt_types::{Identity, Priority, RpcError, Tag};

use super::packages::PackageInstall;
use super::rpc::{Exported, text_or_null};
use super::transfer;
use crate::ServiceError;

pub(super) fn export(table: &mut MethodTable, exported: &Exported) {
    let install = table.method("install_agent").doc("Installs a wheel that the caller sends, or a package by name; gives the UUID.");
    let install = install.optional("filename", Value::Null).optional("channel_name", Value::Null).optional("vip_identity", Value::Null);
    let install = install.optional("publickey", Value::Null).optional("secretkey", Value::Null).optional("force", false);
    let install = install.optional("pre_release", false).optional("agent_config", Value::Null);
    exported.add(install.optional("install_options", Value::Null), |this, call| async move {
        let options = if call.value("filename").is_object() { call.value("filename") } else { call.value("install_options") };
        let request = if options.is_object() { of_options(options)? } else { this.of_arguments(&call).await? };
        this.finish(&call, request).await
    });
    let local = table.method("install_agent_local").doc("Installs a wheel of this machine; gives the UUID.").param("path");
    let local = local.optional("vip_identity", Value::Null).optional("publickey", Value::Null).optional("secretkey", Value::Null);
    exported.add(local.optional("force", false), |this, call| async move {
        let source = PackageSource::File(PathBuf::from(call.arg::<String>("path")?));
        let identity = text_or_null(&call, "vip_identity")?;
        let request = PackageInstall { identity, force: call.arg("force")?, ..PackageInstall::of(source) };
        this.finish(&call, request).await
    });
    let keys = table.method("get_all_agent_publickeys").doc("Public key of each installed agent in Python by identity.");
    exported.add(keys, |this, _| async move {
        let keys = this.agents.public_keys().await.map_err(ServiceError::into_rpc)?;
        Ok(keys.into_iter().map(|(identity, key)| (identity.to_string(), json!(key.to_string()))).collect())
    });
}

impl Exported {
    async fn of_arguments(&self, call: &Call) -> Result<PackageInstall, RpcError> {
        let file_name: String = call.arg("filename")?;
        let identity = text_or_null(call, "vip_identity")?;
        let force: bool = call.arg("force")?;
        if let Some(identity) = identity.as_deref().filter(|identity| !force && self.agents.by_identity(identity).is_some()) {
            tracing::debug!(identity, "an agent is not installed over another");
            return Err(RpcError::value_error("Identity already exists, but not forced!"));
        }
        let source = match text_or_null(call, "channel_name")? {
            Some(channel_name) => self.of_channel(call, &channel_name, &file_name).await?,
            // Version 10 sends nothing but the name for a package of the index.
            None => PackageSource::Requirement(file_name),
        };
        let (config, allow_prerelease) = (config(Some(call.value("agent_config"))), call.arg("pre_release")?);
        Ok(PackageInstall { identity, force, config, allow_prerelease, ..PackageInstall::of(source) })
    }

    /// Fetches a wheel from the caller.
    async fn of_channel(&self, call: &Call, channel_name: &str, file_name: &str) -> Result<PackageSource, RpcError> {
        let caller = self.caller(call);
        caller.require_admin().map_err(ServiceError::into_rpc)?;
        let own = Identity::known(known::CONTROL);
        let inner = &self.agents.inner;
        let fetched = async {
            let _place = inner.transfers.enter()?;
            let channel = inner.deps.channels.open(&own, &call.from, channel_name).await?;
            transfer::fetch(channel, channel_name).await
        };
        let content = Arc::new(fetched.await.map_err(ServiceError::into_rpc)?);
        // Clients say the path as it is on their side.
        let file_name = file_name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        Ok(PackageSource::Wheel { file_name, content })
    }

    async fn finish(&self, call: &Call, request: PackageInstall) -> Result<Value, RpcError> {
        let outcome = self.agents.install_package(&self.caller(call), request).await.map_err(ServiceError::into_rpc)?;
        Ok(json!(outcome.agent.uuid))
    }
}

/// The object of the modular generation. Whether to start is up to its `vctl`, which asks for that afterwards.
fn of_options(options: &Value) -> Result<PackageInstall, RpcError> {
    // The library that modular clients use writes names in camel case.
    let member = |name: &str| options.get(name).or_else(|| options.get(camel_case(name)));
    let text = |name: &str| member(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let flag = |name: &str| member(name).and_then(Value::as_bool).unwrap_or(false);
    if flag("editable") && !text("source").is_some_and(|source| source.starts_with('/')) {
        return Err(RpcError::value_error("an editable installation is not possible here: each agent has an environment of its own"));
    }
    let source = text("source").ok_or_else(|| RpcError::value_error("'source' is missing: a package name or a wheel's file name"))?;
    let source = match (source.ends_with(".whl"), text("data")) {
        (true, None) => return Err(RpcError::value_error("'data' is missing: the wheel, as base64")),
        (_, data) => self::source(source, data)?,
    };
    let invalid = |error: vt_types::InstallationError| RpcError::value_error(error.to_string());
    let priority = match member("priority") {
        None | Some(Value::Null) => flag("enabled").then(Priority::default),
        Some(Value::String(text)) => Some(Priority::parse(text).map_err(invalid)?),
        Some(other) => Some(Priority::parse(&other.to_string()).map_err(invalid)?),
    };
    Ok(PackageInstall {
        identity: text("identity").map(str::to_owned),
        tag: text("tag").map(Tag::parse).transpose().map_err(invalid)?,
        priority,
        config: config(member("agent_config")),
        force: flag("force"),
        start: flag("start"),
        allow_prerelease: flag("allow_prerelease"),
        ..PackageInstall::of(source)
    })
}

/// What the modular generation means by a source: a wheel that is sent with it, a path of this machine, or the name of a package.
pub(super) fn source(source: &str, data: Option<&str>) -> Result<PackageSource, RpcError> {
    let is_wheel = source.ends_with(".whl");
    match data {
        Some(data) if is_wheel => {
            if data.len() / 4 * 3 > PACKAGE_BYTES_MAX {
                return Err(RpcError::value_error(format!("the wheel has more than the {PACKAGE_BYTES_MAX} bytes allowed here")));
            }
            let content = STANDARD.decode(data).map_err(|error| RpcError::value_error(format!("'data' is no base64: {error}")))?;
            let file_name = source.rsplit('/').next().unwrap_or(source).to_owned();
            Ok(PackageSource::Wheel { file_name, content: Arc::new(content) })
        }
        None if source.starts_with('/') && is_wheel => Ok(PackageSource::File(PathBuf::from(source))),
        None if source.starts_with('/') => Ok(PackageSource::Directory(PathBuf::from(source))),
        _ => Ok(PackageSource::Requirement(source.to_owned())),
    }
}

/// The file that a client's configuration becomes; an empty object stands for none.
fn config(value: Option<&Value>) -> Option<String> {
    match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Object(object)) if object.is_empty() => None,
        Some(value) => Some(format!("{value:#}\n")),
    }
}

/// `agent_config` as `agentConfig`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| {
        let mut letters = word.chars();
        letters.next().map_or(text.clone(), |letter| format!("{text}{}{}", letter.to_ascii_uppercase(), letters.as_str()))
    })
}
