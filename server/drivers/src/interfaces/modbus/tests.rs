//! The device against a scripted Modbus server; `tests/pymodbus.rs` does the same against an independent implementation.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vt_types::SystemClock;

use super::*;

/// A server whose every register holds its own address; addresses at or above `bad_from` are refused. Notes what was asked.
async fn server(bad_from: u16) -> (u16, Arc<Mutex<Vec<[u16; 3]>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0_u8; 12];
            while stream.read_exact(&mut request).await.is_ok() {
                let (function, start) = (request[7], u16::from_be_bytes([request[8], request[9]]));
                let count = u16::from_be_bytes([request[10], request[11]]);
                noted.lock().push([function.into(), start, count]);
                let pdu = if start + count > bad_from {
                    vec![function | 0x80, 2]
                } else {
                    let words: Vec<u8> = (start..start + count).flat_map(u16::to_be_bytes).collect();
                    [&[function, u8::try_from(words.len()).unwrap()][..], &words].concat()
                };
                let len = u16::try_from(pdu.len() + 1).unwrap().to_be_bytes();
                stream.write_all(&[&request[..4], &len, &request[6..7], &pdu].concat()).await.unwrap();
            }
        }
    });
    (port, asked)
}

fn device(port: u16, csv: &str) -> Arc<dyn Interface> {
    let header = "Volttron Point Name,Reference Point Name,Units,Modbus Register,Writable,Point Address,Transform\n";
    let registry = Arc::new(Registry::from_csv(format!("{header}{csv}").as_bytes()).unwrap());
    let config = json!({"device_address": "127.0.0.1", "port": port, "timeout": 1});
    build(&BuildContext::new(Arc::new(SystemClock), 4), config.as_object().unwrap(), &registry).unwrap()
}

#[tokio::test]
async fn adjacent_registers_are_one_request() {
    let (port, asked) = server(u16::MAX).await;
    let device = device(port, "a,a,x,>H,FALSE,0,\nb,b,x,>I,FALSE,1,\nc,c,x,>H,FALSE,3,\n");
    let scrape = device.scrape_all().await.unwrap();
    assert_eq!(scrape.values, [json!(0), json!(0x0001_0002), json!(3)]);
    assert_eq!(*asked.lock(), [[4, 0, 4]]);
}

#[tokio::test]
async fn one_bad_address_spoils_its_own_point_only() {
    let (port, asked) = server(2).await;
    let device = device(port, "a,a,x,>H,FALSE,0,\nb,b,x,>H,FALSE,1,\nc,c,x,>H,FALSE,2,\n");
    let scrape = device.scrape_all().await.unwrap();
    assert_eq!(scrape.values, [json!(0), json!(1), json!(null)]);
    assert_eq!(scrape.errors.len(), 1);
    assert_eq!(scrape.errors[0].index, 2);
    assert_eq!(
        scrape.errors[0].error.to_string(),
        format!("127.0.0.1:{port} unit 0 answered Modbus exception 2 (Illegal data address) to a read of 1 input registers at 2")
    );
    // The next scrape does not try the refused read again.
    asked.lock().clear();
    device.scrape_all().await.unwrap();
    assert_eq!(asked.lock().len(), 3);
}

#[tokio::test]
async fn only_exceptions_are_a_failed_scrape() {
    let (port, _) = server(0).await;
    let device = device(port, "a,a,x,>H,FALSE,0,\nb,b,x,>H,FALSE,1,\n");
    assert!(matches!(device.scrape_all().await, Err(DriverError::ModbusException { code: 2, .. })));
}

#[tokio::test]
async fn a_register_scales_another() {
    let (port, _) = server(u16::MAX).await;
    let device =
        device(port, "a,a,x,>H,FALSE,10,scale_reg(b)\nB,b,x,>H,FALSE,4,\nc,c,x,>H,FALSE,123,scale_reg_pow_10(d)\nD,d,x,>H,FALSE,2,\n");
    let scrape = device.scrape_all().await.unwrap();
    assert_eq!(scrape.values, [json!(2.5), json!(4), json!(12_300.0), json!(2)]);
    assert_eq!(device.get_point("a").await.unwrap(), json!(2.5));
}

#[test]
fn a_scale_that_is_missing_or_scaled_is_refused() {
    let registry = |transform: &str| {
        let rows =
            format!("Volttron Point Name,Units,Modbus Register,Writable,Point Address,Transform\na,x,>H,FALSE,1,scale_reg({transform})\n");
        Arc::new(Registry::from_csv(rows.as_bytes()).unwrap())
    };
    let config = json!({"device_address": "h"});
    for (name, reason) in [("b", "is not in the registry"), ("a", "is itself scaled by a register")] {
        let error = build(&BuildContext::new(Arc::new(SystemClock), 1), config.as_object().unwrap(), &registry(name)).unwrap_err();
        assert_eq!(error.to_string(), format!("registry_config, line 2, column Transform: the register {name:?} {reason}"));
    }
}

#[tokio::test]
async fn a_refused_write_says_which_point_and_why() {
    let (port, _) = server(u16::MAX).await;
    let device = device(port, "a,a,x,>H,FALSE,0,\nb,b,x,>H,TRUE,1,\n");
    let read_only = device.set_point("a", &json!(1)).await.unwrap_err();
    assert_eq!(read_only.to_string(), "Trying to write to a point configured read only: a");
    assert_eq!(read_only.exc_type(), "builtins.OSError");
    let bad = device.set_point("b", &json!("<img onerror=x>")).await.unwrap_err();
    assert_eq!(bad.to_string(), "\"<img onerror=x>\" is no value for point b: an integer from 0 to 65535 is expected");
}
