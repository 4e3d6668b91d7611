//! Sample content for every page, made of names that the caller chooses: pleasant ones for the preview, hostile ones for tests.

use chrono::{Duration, Utc};
use serde_json::json;
use vt_types::timestamp::Timestamp;
use vt_web::cx::ErrorPage;
use vt_web::frame::{Flash, Frame, Section, Theme};
use vt_web::pages::account::{LoginPage, SetupPage};
use vt_web::pages::agent::{AgentPage, ConfirmPage, EntryRow, MethodRow};
use vt_web::pages::agents::{AgentsPage, InstallForm, KindOption, PeerRow};
use vt_web::pages::components::ComponentsPage;
use vt_web::pages::config::ConfigPage;
use vt_web::pages::device::{DevicePage, LastWrite, PointPage};
use vt_web::pages::devices::{Branch, DevicesPage, TreeItem};
use vt_web::pages::log::LogRow;
use vt_web::pages::overview::{AgentCounts, AlertRow, BusTile, DeviceCounts, HistorianTile, OverviewPage, Reason, Rollup, Trouble};
use vt_web::pages::platforms::PlatformRow;
use vt_web::pages::search::{Group, Hit, SearchPage};
use vt_web::pages::view::{AgentRow, DeviceRow, Kind, PointRow, crumbs};
use vt_web::ui::{self, Tone};

/// Where samples take their names and looks from.
#[derive(Clone)]
pub struct Samples {
    /// Colours.
    pub theme: Theme,
    /// The present.
    pub now: Timestamp,
    /// If given, every name, tag, unit, reason and text is this one.
    pub name: Option<String>,
}

impl Samples {
    /// Pleasant samples.
    pub fn pleasant(theme: Theme) -> Self {
        Self { theme, now: Utc::now(), name: None }
    }

    fn n(&self, pleasant: &str) -> String {
        self.name.clone().unwrap_or_else(|| pleasant.to_owned())
    }

    fn ago(&self, seconds: i64) -> Timestamp {
        self.now - Duration::seconds(seconds)
    }

    /// What surrounds a page.
    pub fn frame(&self, section: Section, here: &str) -> Frame {
        Frame {
            instance: self.n("harbor1"),
            user: Some(self.n("dana")),
            is_admin: true,
            theme: self.theme,
            section,
            csrf: "sample".to_owned(),
            flash: self.name.as_ref().map(|name| Flash { tone: Tone::Bad, text: name.clone() }),
            now: self.now,
            here: here.to_owned(),
        }
    }

    /// `/`
    pub fn overview(&self) -> OverviewPage {
        let reason =
            |tone, word, what: &str, why: &str| Reason { tone, word, what: self.n(what), href: "/agents".to_owned(), why: self.n(why) };
        OverviewPage {
            frame: self.frame(Section::Overview, "/"),
            rollup: Rollup {
                tone: Tone::Bad,
                heading: "3 things need attention".to_owned(),
                sentence: "",
                reasons: vec![
                    reason(Tone::Bad, "In trouble", "harbor/pier4/chiller1", "No answer from 10.20.4.31:502 within 3 s."),
                    reason(
                        Tone::Bad,
                        "Failed",
                        "weather.reader",
                        "Panicked: the answer held no temperature. The supervisor gave up; start it by hand.",
                    ),
                    reason(Tone::Stale, "Restarting", "meter.poller", "Exit code 1. Next start in 8 s; failed 2 times in a row."),
                ],
                more: 0,
            },
            agents: AgentCounts { installed: 7, running: 5, stopped: 0, failed: 1, waiting: 1 },
            devices: DeviceCounts { answering: 23, configured: 24, trouble: 1, points: 412 },
            bus: BusTile { rate: "1\u{202f}240".to_owned(), lost: 0 },
            historian: HistorianTile { figure: "1".to_owned(), of: "running", tone: Tone::Good, word: self.n("Keeping up") },
            trouble: vec![Trouble {
                path: self.n("harbor/pier4/chiller1"),
                href: "/devices/harbor/pier4/chiller1".to_owned(),
                tone: Tone::Bad,
                word: "In trouble",
                why: self.n("No answer from 10.20.4.31:502 within 3 s."),
                last_scrape: Some(self.ago(254)),
            }],
            platforms: vec![PlatformRow {
                id: "sample-platform".to_owned(),
                name: self.n("harbor2"),
                href: "/platforms/harbor2".to_owned(),
                address: self.n("tcp://10.20.5.2:22916"),
                tone: Tone::Bad,
                word: "Not linked",
                why: Some(self.n("Connection refused.")),
                since: Some(self.ago(300)),
                told_at: Some(self.ago(310)),
                is_old: true,
                agents: Some((4, 6)),
                sent: "0".to_owned(),
                received: "0".to_owned(),
                lost: "0".to_owned(),
                loses: false,
                reconnects: "2".to_owned(),
            }],
            trouble_more: 0,
            alerts: vec![
                AlertRow {
                    tone: Tone::Bad,
                    word: self.n("Bad"),
                    key: self.n("DEVICE_TROUBLE"),
                    identity: self.n("platform.driver"),
                    context: self.n("harbor/pier4/chiller1 does not answer"),
                    at: self.ago(250),
                },
                AlertRow {
                    tone: Tone::Good,
                    word: self.n("Good"),
                    key: self.n("historian_cache"),
                    identity: self.n("platform.historian"),
                    context: self.n("the backlog is written"),
                    at: self.ago(7400),
                },
            ],
            facts: vec![
                ("Version", self.n("0.1.0")),
                ("Web address", self.n("https://127.0.0.1:8443")),
                ("Bus addresses", self.n("none")),
                ("Connected peers", "14".to_owned()),
                ("Messages published", "8\u{202f}214\u{202f}002".to_owned()),
            ],
            started: Some(self.ago(93_000)),
            lost: self.name.iter().map(|name| (name.clone(), "3".to_owned())).collect(),
        }
    }

    fn agent(&self, identity: &str, name: &str, pid: u32) -> AgentRow {
        let identity = self.n(identity);
        AgentRow {
            id: ui::id("agent", &format!("{identity}{pid}")),
            href: format!("/agents/{}", ui::segment(&identity)),
            identity,
            name: self.n(name),
            uuid: Some("8b1e3c52-7f2a-4c52-9a55-1f1c3cf0a3d1".to_owned()),
            tag: None,
            priority: Some(50),
            running: true,
            waiting: false,
            run_key: "running",
            run_tone: Tone::Good,
            run_word: "Running",
            run_why: None,
            since: Some(self.ago(93_000)),
            pid: Some(pid),
            exit_code: None,
            restarts: 0,
            health_tone: Tone::Good,
            health_word: "Good",
            health_why: None,
        }
    }

    fn agent_rows(&self) -> Vec<AgentRow> {
        let mut rows = vec![
            AgentRow {
                priority: Some(10),
                tag: Some(self.n("driver")),
                health_tone: Tone::Bad,
                health_word: "Bad",
                health_why: Some(self.n("1 of 24 devices does not answer.")),
                ..self.agent("platform.driver", "platform_driveragent-4.0", 40_112)
            },
            AgentRow { priority: Some(20), ..self.agent("platform.historian", "sqlitehistorianagent-4.0", 40_113) },
            AgentRow { priority: Some(30), ..self.agent("platform.actuator", "actuatoragent-1.0", 40_114) },
            AgentRow { tag: Some(self.n("watches the bus")), priority: None, ..self.agent("listener", "listeneragent-3.3", 40_115) },
        ];
        rows.push(AgentRow {
            running: false,
            waiting: true,
            run_key: "failed",
            run_tone: Tone::Stale,
            run_word: "Restarting",
            run_why: Some(self.n("Exit code 1. Next start in 8 s; failed 2 times in a row.")),
            since: Some(self.ago(4)),
            restarts: 2,
            health_tone: Tone::Unknown,
            health_word: "Unknown",
            ..self.agent("meter.poller", "meterpolleragent-1.4", 40_116)
        });
        rows.push(AgentRow {
            running: false,
            run_key: "failed",
            run_tone: Tone::Bad,
            run_word: "Failed",
            run_why: Some(self.n("Panicked: the answer held no temperature. The supervisor gave up; start it by hand.")),
            since: Some(self.ago(3700)),
            exit_code: Some(101),
            restarts: 8,
            health_tone: Tone::Off,
            health_word: "Not running",
            ..self.agent("weather.reader", "weatheragent-0.3", 40_117)
        });
        rows.push(AgentRow {
            running: false,
            run_key: "stopped",
            run_tone: Tone::Off,
            run_word: "Never started",
            since: None,
            pid: None,
            health_tone: Tone::Off,
            health_word: "Not running",
            ..self.agent("forwarder", "forwarderagent-5.1", 0)
        });
        rows
    }

    /// `/agents`
    pub fn agents(&self) -> AgentsPage {
        let peer = |identity: &str, kind, lost: u64| PeerRow {
            id: ui::id("peer", identity),
            identity: self.n(identity),
            href: format!("/agents/{}", ui::segment(&self.n(identity))),
            kind,
            published: "120\u{202f}331".to_owned(),
            delivered: "98\u{202f}112".to_owned(),
            lost: lost.to_string(),
            loses: lost > 0,
            queue: "0 of 10\u{202f}000".to_owned(),
        };
        AgentsPage {
            frame: self.frame(Section::Agents, "/agents"),
            rows: self.agent_rows(),
            peers: vec![peer("config.store", "service", 0), peer("listener", "agent", 12), peer("platform.driver", "agent", 0)],
            kinds: vec![
                KindOption { kind: self.n("listener"), summary: self.n("writes what it hears into its log") },
                KindOption { kind: self.n("platform_driver"), summary: self.n("reads and writes devices") },
            ],
            may_install: true,
            query: self.name.clone().unwrap_or_default(),
            install: InstallForm {
                identity: self.name.clone().unwrap_or_default(),
                tag: self.name.clone().unwrap_or_default(),
                start: "1".to_owned(),
                ..InstallForm::default()
            },
            problem: self.name.clone(),
        }
    }

    /// `/agents/{identity}`
    pub fn agent_page(&self) -> AgentPage {
        let line = |seconds: i64, level: &'static str, text: &str| {
            let at = self.ago(seconds);
            LogRow {
                class: level.to_ascii_lowercase(),
                level,
                at_iso: ui::stamp(at),
                at_short: at.format("%H:%M:%S").to_string(),
                text: ui::visible(&self.n(text)),
            }
        };
        let entry = |name: &str, kind, bytes: usize| EntryRow {
            name: self.n(name),
            href: format!("/agents/platform.driver/configs/{}", ui::path(&self.n(name))),
            kind,
            bytes,
            size: format!("{bytes} B"),
            modified: Some(self.ago(93_000)),
        };
        let method = |signature: &str, doc: &str| MethodRow { signature: self.n(signature), doc: self.n(doc) };
        AgentPage {
            frame: self.frame(Section::Agents, "/agents/platform.driver"),
            row: self.agent_rows().swap_remove(0),
            installed: true,
            entries: vec![
                entry("config", "JSON", 214),
                entry("devices/harbor/pier4/ahu1", "JSON", 412),
                entry("registry_configs/ahu.csv", "CSV", 2048),
            ],
            methods: vec![
                method("get_point(path, point_name)", "Reads a point from the device."),
                method("set_point(path, point_name, value, **kwargs)", "Writes a point."),
                method("revert_device(path)", "Puts all points of a device back."),
            ],
            methods_problem: self.name.clone().map(|_| self.n("")),
            log: (0..24)
                .flat_map(|round| {
                    [
                        line(240 - round * 10, "INFO", "publishing devices/harbor/pier4/ahu1/all"),
                        line(238 - round * 10, "DEBUG", "20 registers in 2 requests"),
                        line(
                            236 - round * 10,
                            if round % 3 == 0 { "ERROR" } else { "WARNING" },
                            "no answer from 10.20.4.31:502 within 3 s (device=harbor/pier4/chiller1, failures=12)",
                        ),
                    ]
                })
                .collect(),
            log_place: "0-72".to_owned(),
            may_remove: true,
        }
    }

    /// `/agents/{identity}/configs/{name}` after a mistake
    pub fn config(&self) -> ConfigPage {
        let name = self.n("devices/harbor/pier4/ahu1");
        ConfigPage {
            frame: self.frame(Section::Agents, "/agents/platform.driver/configs/config"),
            identity: self.n("platform.driver"),
            agent_href: "/agents/platform.driver".to_owned(),
            action: format!("/agents/platform.driver/configs/{}", ui::path(&name)),
            is_new: self.name.is_some(),
            name,
            kind: "json",
            text: self.n(
                "{\n  \"driver_type\": \"modbus\"\n  \"interval\": 5,\n  \"registry_config\": \"config://registry_configs/ahu.csv\"\n}\n",
            ),
            modified: Some(self.ago(93_000)),
            problem: Some(self.n("Line 3, column 3: expected a comma or a closing brace.")),
        }
    }

    fn device(&self, path: &str, tone: Tone) -> DeviceRow {
        let path = self.n(path);
        let (word, why, last) = match tone {
            Tone::Bad => ("In trouble", Some(self.n("No answer from 10.20.4.31:502 within 3 s.")), 254),
            _ => ("Answering", None, 2),
        };
        DeviceRow {
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            href: format!("/devices/{}", ui::path(&path)),
            path,
            tone,
            word,
            why,
            last_scrape: Some(self.ago(last)),
            stale_after_s: 15,
            interval: "5 s".to_owned(),
            driver: self.n("modbus"),
            failures: 0,
            overridden: false,
            points: 6,
        }
    }

    fn points(&self, device: &DeviceRow) -> Vec<PointRow> {
        [
            ("SupplyAirTemperature", "14.25", "°C", false),
            ("ZoneTemperature", "21.5", "°C", false),
            ("ZoneTemperatureSetPoint", "22", "°C", true),
            ("SupplyFanStatus", "true", "", false),
            ("DamperPosition", "40", "%", true),
            ("Mode", "auto", "", true),
        ]
        .into_iter()
        .map(|(name, value, unit, writable)| PointRow {
            id: ui::id("point", &format!("{}{name}", device.path)),
            device: device.path.clone(),
            name: self.n(name),
            href: format!("{}/{}", device.href, ui::path(&self.n(name))),
            value: self.n(value),
            raw: Some(json!(value)),
            unit: self.n(unit),
            at: device.last_scrape,
            writable,
            stale_after_s: device.stale_after_s,
            trouble: device.trouble_word(),
            search: format!("{}/{name}", device.path),
            kind: Kind::Number,
        })
        .collect()
    }

    /// `/devices`
    pub fn devices(&self) -> DevicesPage {
        let branch = |path: &str, devices, trouble| Branch {
            path: self.n(path),
            name: self.n(path.rsplit('/').next().unwrap_or_default()),
            href: format!("/devices/{}", ui::path(&self.n(path))),
            devices,
            trouble,
        };
        let mut items = vec![TreeItem::Open(branch("harbor", 3, 1)), TreeItem::Open(branch("harbor/pier4", 3, 1))];
        for (path, tone) in [("harbor/pier4/ahu1", Tone::Good), ("harbor/pier4/ahu2", Tone::Good), ("harbor/pier4/chiller1", Tone::Bad)] {
            let device = self.device(path, tone);
            items.push(TreeItem::OpenDevice(Box::new(device.clone())));
            items.extend(self.points(&device).into_iter().map(|point| TreeItem::Point(Box::new(point))));
            items.push(TreeItem::Close);
        }
        items.extend([
            TreeItem::Close,
            TreeItem::Device(Box::new(self.device("harbor/meter", Tone::Good))),
            TreeItem::Group(branch("harbor/pier5", 40, 2)),
            TreeItem::Close,
        ]);
        DevicesPage {
            frame: self.frame(Section::Devices, "/devices"),
            prefix: self.name.clone().unwrap_or_default(),
            crumbs: crumbs(&self.name.clone().unwrap_or_default()),
            items,
            device_count: 3,
            point_count: 18,
            trouble_count: 1,
            row_count: 20,
            notice: self.name.clone(),
            partial: false,
            query: self.name.clone().unwrap_or_default(),
        }
    }

    /// `/devices/{path}`
    pub fn device_page(&self) -> DevicePage {
        let device = self.device("harbor/pier4/ahu1", if self.name.is_some() { Tone::Bad } else { Tone::Good });
        DevicePage {
            frame: self.frame(Section::Devices, &device.href),
            crumbs: crumbs(&device.path),
            points: self.points(&device),
            config_href: "/agents/platform.driver/configs/devices/harbor/pier4/ahu1".to_owned(),
            may_write: true,
            query: self.name.clone().unwrap_or_default(),
            device,
        }
    }

    /// `/devices/{path}/{point}`
    pub fn point(&self) -> PointPage {
        let device = self.device("harbor/pier4/ahu1", if self.name.is_some() { Tone::Bad } else { Tone::Good });
        let point = self.points(&device).swap_remove(2);
        PointPage {
            frame: self.frame(Section::Devices, &point.href),
            crumbs: crumbs(&format!("{}/{}", device.path, point.name)),
            kind: Kind::Number,
            charted: true,
            chart_href: format!("/chart-data/{}", ui::path(&format!("{}/{}", device.path, point.name))),
            may_write: true,
            draft: point.value.clone(),
            problem: self.name.clone(),
            last_write: Some(LastWrite {
                tone: Tone::Good,
                word: "Written",
                user: self.n("dana"),
                at: self.ago(940),
                detail: self.n("value 22"),
            }),
            readings: (0..20).map(|at| (self.ago(at * 60), self.n("22"))).collect(),
            history_problem: self.name.clone(),
            registry: vec![
                (self.n("Point Name"), self.n("ZN-T-SP")),
                (self.n("Units"), self.n("°C")),
                (self.n("Writable"), self.n("TRUE")),
                (self.n("Modbus Register"), self.n(">f")),
                (self.n("Point Address"), self.n("40012")),
            ],
            topic: self.n("devices/harbor/pier4/ahu1/all"),
            device,
            point,
        }
    }

    /// `/search`
    pub fn search(&self) -> SearchPage {
        let hit = |name: &str, place: &str| Hit {
            name: self.n(name),
            place: self.n(place),
            href: format!("/devices/{}", ui::path(&self.n(name))),
        };
        SearchPage {
            frame: self.frame(Section::None, "/search"),
            query: self.n("temp"),
            groups: vec![
                Group {
                    heading: "Points",
                    icon: "point",
                    hits: vec![hit("ZoneTemperature", "harbor/pier4/ahu1"), hit("SupplyAirTemperature", "harbor/pier4/ahu1")],
                    more: 3,
                },
                Group { heading: "Agents", icon: "agents", hits: vec![hit("temperature.watch", "listeneragent-3.3")], more: 0 },
            ],
        }
    }

    /// `/login`
    pub fn login(&self) -> LoginPage {
        LoginPage {
            frame: self.frame(Section::None, "/login"),
            problem: self.name.clone(),
            user: self.name.clone().unwrap_or_default(),
            next: self.n("/"),
        }
    }

    /// `/setup`
    pub fn setup(&self) -> SetupPage {
        SetupPage {
            frame: self.frame(Section::None, "/setup"),
            problem: Some(self.n("The code is not right. Read it again where the server was started.")),
            code: self.n("ABCD-EFGH"),
            user: self.n("dana"),
            password_chars_min: 8,
        }
    }

    /// Asking back
    pub fn confirm(&self) -> ConfirmPage<'static> {
        ConfirmPage {
            frame: self.frame(Section::Agents, "/"),
            heading: self.n("Remove meter.poller?"),
            text: self.n("The agent is stopped and its installation and own data are deleted."),
            action: "/agents/meter.poller/remove".to_owned(),
            fields: &[],
            button: "Remove agent",
            back: "/agents/meter.poller".to_owned(),
        }
    }

    /// An error
    pub fn error<'a>(&self, text: &'a str) -> ErrorPage<'a> {
        ErrorPage { frame: self.frame(Section::None, "/"), status: 404, heading: "Not found", text, back: None, request_id: Some(text) }
    }

    /// `/components`
    pub fn components(&self) -> ComponentsPage {
        ComponentsPage { frame: self.frame(Section::None, "/components") }
    }
}
