//! What TBEL means, by the values of ThingsBoard's own documentation and tests: a script and the JSON that it answers, or what it
//! throws.

use schemas::script::{Form, Language, Script, java};
use serde_json::{Value, json};

use super::{BTreeMap, check, engine, script};
use crate::script::{Answer, ScriptFailure, Subject};

/// Each in the same engine: one script leaves nothing to the next.
#[track_caller]
fn table(cases: &[(&str, &str)]) {
    let mut engine = engine();
    let data = json!({ "list": [3, 1, 2], "names": ["A", "B", "C", "B"], "map": { "b": 2, "a": 1 } });
    let metadata = BTreeMap::new();
    for (body, expected) in cases {
        let answer =
            engine.run(&script(Form::Details, Language::Tbel, body), Subject { data: &data, metadata: &metadata, kind: "T" });
        let expected = match expected.strip_prefix("THREW ") {
            Some(reason) => Err(ScriptFailure::Threw(reason.to_owned())),
            None => Ok(Answer::Details(serde_json::from_str(expected).expect(expected))),
        };
        assert_eq!(answer, expected, "{body}");
    }
}

#[test]
fn texts_are_javas() {
    table(TEXTS);
}

const TEXTS: &[(&str, &str)] = &[
    (r#"return 'a.b.c'.replace('.', '-');"#, r#""a-b-c""#),
    (r#"return 'abc'.replace('', '-');"#, r#""-a-b-c-""#),
    (r#"return 'a$b'.replace('$', '$$');"#, r#""a$$b""#),
    (r#"return 'a1b22c'.replaceAll('[0-9]+', '<$0>');"#, r#""a<1>b<22>c""#),
    (r#"return 'x=1'.replaceAll('(\\w)=(\\d)', '$2=$1');"#, r#""1=x""#),
    (r#"return 'a.b'.replaceAll('\\.', '\\$');"#, r#""a$b""#),
    (r#"return 'aXbX'.replaceFirst('X', '-');"#, r#""a-bX""#),
    (r#"return 'a,b,,c,,'.split(',');"#, r#"["a","b","","c"]"#),
    (r#"return 'a.b'.split('.');"#, r#"[]"#),
    (r#"return 'a.b'.split('\\.');"#, r#"["a","b"]"#),
    (r#"return 'a1b2c'.split('[0-9]');"#, r#"["a","b","c"]"#),
    (r#"return 'abc'.split('');"#, r#"["a","b","c"]"#),
    (r#"return 'a,b,c'.split(',', 2);"#, r#"["a","b,c"]"#),
    (r#"return 'a,b,,'.split(',', -1);"#, r#"["a","b","",""]"#),
    (r#"return ''.split(',');"#, r#"[""]"#),
    (r#"return ','.split(',');"#, r#"[]"#),
    (r#"return 'abcabc'.indexOf('c', 3);"#, r#"5"#),
    (r#"return [67, 2, 2, 2].indexOf(2, 2);"#, r#"2"#),
    (r#"return [67, 2, 2, 2].indexOf('B', 1);"#, r#"-1"#),
    (r#"return 'Ab'.matches('(?i)aB');"#, r#"true"#),
    (r#"return 'a'.matches('\\p{Alpha}');"#, r#"THREW Error: the regular expression \p{Alpha} is not known here"#),
];

#[test]
fn dates_count_from_one() {
    table(DATES);
}

const DATES: &[(&str, &str)] = &[
    (r#"var d = new Date(2023, 8, 6, 4, 4, 5, "America/New_York"); return d.toISOString();"#, r#""2023-08-06T08:04:05Z""#),
    (
        r#"var d = new Date(2023, 8, 6, 4, 4, 5, "Europe/Berlin"); return d.toLocaleString("en-us", "America/New_York");"#,
        r#""8/5/23, 10:04:05\u202fPM""#,
    ),
    (r#"return new Date("2023-08-06T04:04:05.123Z").toISOString();"#, r#""2023-08-06T04:04:05.123Z""#),
    (r#"return new Date("2023-08-06T04:04:05.00-04").toISOString();"#, r#""2023-08-06T08:04:05Z""#),
    (r#"return new Date("2023-08-06T04:04:05.00+02:00").toISOString();"#, r#""2023-08-06T02:04:05Z""#),
    (r#"return new Date("2023-08-06T04:04:05.00+03:00:00").toISOString();"#, r#""2023-08-06T01:04:05Z""#),
    (r#"return new Date("Tue, 3 Jun 2008 11:05:30 GMT").toISOString();"#, r#""2008-06-03T11:05:30Z""#),
    (r#"return new Date("Tue, 3 Jun 2008 11:05:30 +043056").toISOString();"#, r#""2008-06-03T06:34:34Z""#),
    (r#"return new Date("Thu, 29 Feb 2024 11:05:30 -03").toISOString();"#, r#""2024-02-29T14:05:30Z""#),
    (r#"return new Date("Tue, 3 Jun 2023 11:05:30 GMT");"#, r#"THREW Error: no Tue is that day"#),
    (
        r#"return new Date("2023-09-06T01:04:05.00+045");"#,
        r#"THREW Error: Cannot parse value [2023-09-06T01:04:05.00+045] as instant"#,
    ),
    (
        r#"return new Date("2023-08-06 04:04:05.000-04:00", "yyyy-MM-dd HH:mm:ss.SSSXXX").toISOString();"#,
        r#""2023-08-06T08:04:05Z""#,
    ),
    (
        r#"return new Date("12:15:30 PM, Sun 10/09/2022", "hh:mm:ss a, EEE M/d/uuuu", "en-US").toISOString();"#,
        r#""2022-10-09T12:15:30Z""#,
    ),
    (
        r#"return new Date("02:15:30 PM, Sun 10/09/2022", "hh:mm:ss a, EEE M/d/uuuu", "en-US", "America/New_York").toISOString();"#,
        r#""2022-10-09T18:15:30Z""#,
    ),
    (
        r#"return new Date("02:15:30 PM, Sun 10/09/2022", "hh:mm:ss a, EEE M/d/uuuu", "en-US", "-04:00").toISOString();"#,
        r#""2022-10-09T18:15:30Z""#,
    ),
    (
        r#"return new Date("02:15:30 PM, Sun 10/09/2022", "hh:mm:ss a, EEE M/d/uuuu", "de");"#,
        r#"THREW Error: names of the locale de are not known here"#,
    ),
    (
        r#"return new Date("2023-08-06 04:04:05.000+02:00", "yyyy-MM-dd HH:mm:ss.SSSXXX", "de", "America/New_York").toISOString();"#,
        r#""2023-08-06T08:04:05Z""#,
    ),
    (r#"return new Date("2023-08-06T04:04:05.000").toLocaleString("de");"#, r#""06.08.23, 04:04:05""#),
    (r#"return new Date("2023-08-06T04:04:05.000").toLocaleString("UTC");"#, r#""2023-08-06 04:04:05""#),
    (r#"return new Date(1693962245000L).toLocaleDateString("en-US", "America/New_York");"#, r#""9/5/23""#),
    (
        r#"return new Date(1693962245000L).toLocaleDateString("en-US", JSON.stringify({"timeZone": "America/New_York", "dateStyle": "full"}));"#,
        r#""Tuesday, September 5, 2023""#,
    ),
    (
        r#"return new Date(1693962245000L).toLocaleString("en-US", JSON.stringify({"timeZone": "America/New_York", "pattern": "M/d/yyyy, h:mm:ss a"}));"#,
        r#""9/5/2023, 9:04:05 PM""#,
    ),
    (r#"return new Date(1693962245000L).toLocaleString("uk-UA", "Europe/Kiev");"#, r#""06.09.23, 04:04:05""#),
    (r#"return new Date(1693962245000L).toLocaleTimeString("en-US", "America/New_York");"#, r#""9:04:05\u202fPM""#),
    (r#"return new Date("1976-01-01T03:15:30.567Z").toDateString("UTC", "America/New_York");"#, r#""1975 Dec 31, Wed""#),
    (
        r#"return new Date("1976-01-01T03:15:30.567Z").toDateString("en-US", "America/New_York");"#,
        r#""Wednesday, December 31, 1975""#,
    ),
    (r#"return new Date("1976-01-01T03:15:30.567Z").toUTCString("en-US");"#, r#""Thursday, January 1, 1976, 3:15:30\u202fAM""#),
    (
        r#"return new Date("2023-09-06T01:04:05Z");"#,
        r#""Wednesday, September 6, 2023, 1:04:05\u202fAM Coordinated Universal Time""#,
    ),
    (
        r#"var d = new Date(1693962245000); return [d.getMonth(), d.getUTCMonth(), d.getDay(), d.getDate(), d.getFullYear(), d.getHours(), d.parseSecond(), d.getTime()];"#,
        r#"[9,9,3,6,2023,1,1693962245,1693962245000]"#,
    ),
    (r#"return new Date("2023-08-06T04:04:05Z").getDay();"#, r#"7"#),
    (
        r#"var d = new Date("2024-01-01T10:00:00.00Z"); d.addYears(1); d.addYears(-2); d.addMonths(2); d.addMonths(10); d.addMonths(-13); return d.toISOString();"#,
        r#""2022-12-01T10:00:00Z""#,
    ),
    (
        r#"var d = new Date("2022-12-01T10:00:00Z"); d.addWeeks(4); d.addWeeks(-5); d.addDays(6); d.addDays(45); d.addDays(-50); d.addHours(23); d.addHours(-47); d.addMinutes(59); d.addMinutes(-60); d.addSeconds(59); return d.toISOString();"#,
        r#""2022-11-24T09:59:59Z""#,
    ),
    (r#"var d = new Date("2024-01-31T10:00:00Z"); d.addMonths(1); return d.toISOString();"#, r#""2024-02-29T10:00:00Z""#),
    (r#"var d = new Date("2024-01-31T10:00:00Z"); d.setMonth(2); return d.toISOString();"#, r#""2024-03-02T10:00:00Z""#),
    (
        r#"var d = new Date("2024-01-31T10:00:00Z"); d.setMonth(2, 30); return d.toISOString();"#,
        r#"THREW Error: no day of this month: 30"#,
    ),
    (
        r#"var d = new Date("2024-01-31T10:00:00Z"); d.setHours(7, 8, 9, 10); return d.toISOString();"#,
        r#""2024-01-31T07:08:09.010Z""#,
    ),
    (r#"var d = new Date("2024-01-31T10:00:00Z"); d.setHours(24); return 1;"#, r#"THREW Error: no Hours: 24"#),
    (r#"return [Date.UTC(0), Date.UTC(2024, 2, 29, 3, 4, 5, 678)];"#, r#"[-2209075200000,1709175845678]"#),
    (r#"return new Date(Date.UTC(96, 2, 2, 3, 4, 5)).toISOString();"#, r#""1996-02-02T03:04:05Z""#),
    (r#"return Date.UTC(2023, 2, 29, 3, 4, 5, 678);"#, r#"THREW Error: no day of this month: 29"#),
    (
        r#"return [Date.parse("1970-01-01 T00:00:00"), Date.parse("x"), Date.parse("1995-12-04 00:12:00.000", "yyyy-MM-dd HH:mm:ss.SSS")];"#,
        r#"[0,-1,818035920000]"#,
    ),
    (r#"return new Date("2023-08-06");"#, r#"THREW Error: Cannot parse value [2023-08-06] as instant"#),
    (r#"return new Date(2023, 8);"#, r#"THREW Error: new Date: there is none of 2 numbers"#),
    (r#"return new Date(null);"#, r#"THREW Error: no date: null"#),
    (r#"return Date.now() > 1600000000000 && new Date() - new Date(0) > 1600000000000;"#, r#"true"#),
    (r#"return new Date(2024, 3, 31, 2, 30, "Europe/Berlin").toISOString();"#, r#""2024-03-31T01:30:00Z""#),
    (r#"return new Date(2024, 10, 27, 2, 30, "Europe/Berlin").toISOString();"#, r#""2024-10-27T00:30:00Z""#),
    (r#"return new Date(2024, 1, 1, "Moon/Sea");"#, r#"THREW Error: no time zone: Moon/Sea"#),
    (r#"return new java.util.Date(0).getMonth();"#, r#"0"#),
];

#[test]
fn collections_are_javas() {
    table(COLLECTIONS);
}

const COLLECTIONS: &[(&str, &str)] = &[
    (r#"var s = ''; foreach (e : msg.map) { s += e.key + e.value + e.getKey() + e.getValue(); } return s;"#, r#""a1a1b2b2""#),
    (r#"var s = 0; for (var i = 0; i < msg.list.size; i++) { s += msg.list[i]; } return s;"#, r#"6"#),
    (r#"msg.size = 4; return msg.size + 1;"#, r#"5"#),
    (r#"var m = {"size": 3}; return m.size;"#, r#"3"#),
    (
        r#"var l = msg.names; return [l.remove("C"), l.clone(), l.remove(1), l, l.remove("Z")];"#,
        r#"[true,["A","B","B"],"B",["A","B"],false]"#,
    ),
    (
        r#"var l = [2096, "98", 5, "65"]; l.sort(); var a = l.clone(); l.sort(false); return [a, l];"#,
        r#"[[5,"65","98",2096],[2096,"98","65",5]]"#,
    ),
    (r#"var l = ["b", "10", "9"]; l.sort(); return l;"#, r#"["10","9","b"]"#),
    (r#"return [67, 2, 2, 2].toSorted();"#, r#"[2,2,2,67]"#),
    (r#"return [67, 2, 2, 2].with(1, 69);"#, r#"[67,69,2,2,2]"#),
    (
        r#"var l = ["A", "B"]; return [l.addAll(1, ["x", 4]), l, l.set(0, "Z"), l, l.push(3)];"#,
        r#"[true,["Z","x",4,"B",3],"A",["Z","x",4,"B",3],true]"#,
    ),
    (r#"return ["r", 1].set(2, "x");"#, r#"THREW Error: Index 2 out of bounds for length 2"#),
    (
        r#"msg.map.sortByKey(); return [msg.map.keys(), msg.map.clone().size(), msg.map.putIfAbsent("a", 7), msg.map.putIfAbsent("c", 7), msg.map];"#,
        r#"[["a","b"],2,1,null,{"a":1,"b":2,"c":7}]"#,
    ),
    (
        r#"var m = {"humidity": 73, "nested": "508", "temperature1": 73}; m.sortByValue(); return m.keys();"#,
        r#"["humidity","temperature1","nested"]"#,
    ),
    (
        r#"var m = {"t": 42}; return [m.replace("t", 56), m.replace("t", 56, 45), m.replace("t", 48, 56), m];"#,
        r#"[42,true,false,{"t":45}]"#,
    ),
    (
        r#"var s = toSet(["C", "B", "A", 34567, "B", "C", "hello", 34]); s.sort(); var d = s.clone(); d.sort(false); return [s, d, s.size, s.contains("A"), s.toList(), isSet(s), isSet([])];"#,
        r#"[[34,34567,"A","B","C","hello"],["hello","C","B","A",34567,34],6,true,[34,34567,"A","B","C","hello"],true,false]"#,
    ),
    (r#"var s = newSet(); return [s.add(1), s.add(1), s.addAll([1, 2]), s.remove(1), s];"#, r#"[true,false,true,true,[2]]"#),
    (r#"var l = [1].toUnmodifiable(); l.add(2); return l;"#, r#"THREW TypeError: object is not extensible"#),
];

#[test]
fn helpers_are_thingsboards() {
    table(FUNCTIONS);
}

const FUNCTIONS: &[(&str, &str)] = &[
    (r#"return parseHexToLong("BBAA");"#, r#"48042"#),
    (
        r#"return [parseHexToInt("BBAA"), parseHexToInt("AABB", false), parseHexToInt("BBAA", false), parseBigEndianHexToInt("-3A12"), parseLittleEndianHexToLong("AABB")];"#,
        r#"[48042,48042,43707,-14866,48042]"#,
    ),
    (
        r#"return [parseHexToFloat("41EA62CC"), parseHexToFloat("41EA62CC", false), parseLittleEndianHexToFloat("CC62EA41")];"#,
        r#"[29.29824,-59484420,29.29824]"#,
    ),
    (
        r#"return [parseHexIntLongToFloat("0x0A", true), parseHexIntLongToFloat("0x0A0000", false), parseHexIntLongToFloat("0x000A0A", true), parseHexIntLongToFloat("0x0A0A00", false)];"#,
        r#"[10,10,2570,2570]"#,
    ),
    (
        r#"return [parseHexToDouble("409B04B10CB295EA"), parseHexToDouble("409B04B10CB295EA", false), parseLittleEndianHexToDouble("EA95B20CB1049B40")];"#,
        r#"[1729.1729,-2.7208640774822924e+205,1729.1729]"#,
    ),
    (
        r#"return [intToHex(0x7FFFFFFF, true, true), intToHex(171, true, false), intToHex(0xABCDEF, false, true, 4), intToHex(0xABCD, false, false, 2)];"#,
        r#"["0x7FFFFFFF","AB","0xCDAB","AB"]"#,
    ),
    (
        r#"return [longToHex(9223372036854775807, true, true), longToHex(0x7A12BCD3, true, true, 4), longToHex(0x7A12BCD3, false, false, 4)];"#,
        r#"["0x7FFFFFFFFFFFFFFF","0xBCD3","127A"]"#,
    ),
    (
        r#"return [floatToHex(123456789.00), floatToHex(123456789.00, false), doubleToHex(1729.1729d), doubleToHex(1729.1729d, false)];"#,
        r#"["0x4CEB79A3","0xA379EB4C","0x409B04B10CB295EA","0xEA95B20CB1049B40"]"#,
    ),
    (
        r#"return [intLongToRadixString(58, 2), intLongToRadixString(9223372036854775807, 2), intLongToRadixString(13158, 8), intLongToRadixString(-13158, 8), intLongToRadixString(-13158, 10), intLongToRadixString(13158, 16), intLongToRadixString(-13158, 16), intLongToRadixString(9223372036854775807, 16), intLongToRadixString(-13158, 16, true, true)];"#,
        r#"["00111010","0111111111111111111111111111111111111111111111111111111111111111","31546","1777777777777777746232","-13158","3366","FFCC9A","7FFFFFFFFFFFFFFF","0xFFCC9A"]"#,
    ),
    (
        r#"return [bytesToHex([0xBB, 0xAA]), bytesToHex([-69, 83]), base64ToHex("Kkk="), hexToBase64("2A49")];"#,
        r#"["BBAA","BB53","2A49","Kkk="]"#,
    ),
    (
        r#"return [hexToBytes("0x01752B"), hexToBytesArray("AABBCCDDEE"), base64ToBytesList("AQIDBAU="), bytesToExecutionArrayList([0xAA, 0xBB]), printUnsignedBytes(hexToBytes("D8FF"))];"#,
        r#"[[1,117,43],[-86,-69,-52,-35,-18],[1,2,3,4,5],[-86,-69],[216,255]]"#,
    ),
    (
        r#"var b = [0xAA, 0xBB, 0xCC, 0xDD]; return [parseBytesToInt(b, 0, 3), parseBytesToInt(b, 0, 3, false), parseBytesToInt([0, 0, 0, 1, 9, 9, 9]), parseBytesToInt([0, 0, 0, 1, 9, 9, 9], 3), parseBytesToInt(b)];"#,
        r#"[11189196,13417386,1,17369353,-1430532899]"#,
    ),
    (
        r#"return [parseBytesToLong([0, 0, 0, 0, 0, 0, 0, 1, 7, 7]), parseBytesToLong([0, 0, 0, 0, 0, 0, 0, 1, 7, 7], 7)];"#,
        r#"[1,67335]"#,
    ),
    (
        r#"var f = [0x41, 0xEA, 0x62, 0xCC]; return [parseBytesToFloat([0x0A]), parseBytesToFloat(f, 0), parseBytesToFloat(f, 0, 2, false), parseBytesToFloat(f, 0, 2, true), parseBytesToFloat(f, 0, 3, false), parseBytesToFloat(f, 0, 3, true), parseBytesToFloat([65, -22, 98, -52], 0, 4, false)];"#,
        r#"[1.4e-44,29.29824,8.4034e-41,2.3646e-41,9.083913e-39,6.053388e-39,-59484420]"#,
    ),
    (r#"return parseBytesToFloat([-1, -1, -1, -1]);"#, r#"THREW Error: 0xFFFFFFFF is a Not-a-Number (NaN) value"#),
    (
        r#"var i = [0x00, 0x00, 0x00, 0x0A]; return [parseBytesIntToFloat(i, 3, 1, true), parseBytesIntToFloat(i, 2, 2, false), parseBytesIntToFloat(i, 0, 4, false)];"#,
        r#"[10,2560,167772160]"#,
    ),
    (
        r#"var b = hexToBytes("0x01756403671B01048836BF7701F000090722050000"); return [parseBytesIntToFloat(b, 9, 4, false) / 1000000, parseBytesIntToFloat(b, 13, 4, false) / 1000000];"#,
        r#"[24.62495,118.030576]"#,
    ),
    (
        r#"var b = hexToBytes("0x32D009423F23B300B0106E08D96B6C00"); return [parseBytesLongToDouble(b, 0, 8, false) / 1e15, parseBytesLongToDouble(b, 8, 8, false) / 1e15];"#,
        r#"[50.42277542905861,30.517877378257072]"#,
    ),
    (
        r#"return [parseByteToBinaryArray(0x39), parseByteToBinaryArray(0x39, 3), parseByteToBinaryArray(0x39, 6, false)];"#,
        r#"[[0,0,1,1,1,0,0,1],[0,0,1],[1,0,0,1,1,1]]"#,
    ),
    (
        r#"return [parseBytesToBinaryArray([0xCE, 0xB2]), parseBytesToBinaryArray([0xCE, 0xB2], 2), parseLongToBinaryArray(52914L, 16), parseLongToBinaryArray(1).length];"#,
        r#"[[1,1,0,0,1,1,1,0,1,0,1,1,0,0,1,0],[1,0],[1,1,0,0,1,1,1,0,1,0,1,1,0,0,1,0],64]"#,
    ),
    (
        r#"return [parseBinaryArrayToInt([1, 0, 0, 1, 1, 1, 1, 1]), parseBinaryArrayToInt([1, 0, 0, 1, 1, 1, 1, 1], 1, 7)];"#,
        r#"[-97,31]"#,
    ),
    (
        r#"return [isBinary("1100110"), isBinary("2100110"), isOctal("4567734"), isOctal("8100110"), isDecimal("4567039"), isDecimal("C100110"), isHexadecimal("F5D7039"), isHexadecimal("K100110"), isDecimal("-1.23E-4"), isNaN(0.0 / 0.0)];"#,
        r#"[2,-1,8,-1,10,-1,16,-1,10,true]"#,
    ),
    (
        r#"return [padStart("010011", 8, '0'), padStart("1001010011", 8, '0'), padStart("1001010011", 16, '*'), padEnd("010011", 8, '0')];"#,
        r#"["00010011","1001010011","******1001010011","01001100"]"#,
    ),
    (
        r#"return [parseInt("0"), parseInt("473"), parseInt("+42"), parseInt("-0xFF"), parseInt("-FF", 16), parseInt("1100110", 2), parseInt("2147483647", 10), parseInt("-2147483648", 10), parseInt("Kona", 27), parseInt("FF"), parseInt(""), parseInt("77", 8), parseInt("KonaIn", 30)];"#,
        r#"[0,473,42,-255,-255,102,2147483647,-2147483648,411787,255,null,63,506070563]"#,
    ),
    (r#"return parseInt("1111111111111111111111111111111111111111111111111111111110011010", 2);"#, r#"-102"#),
    (r#"return parseInt("abc");"#, r#"THREW Error: "abc" has an odd number of hexadecimal digits"#),
    (r#"return parseInt("xyz");"#, r#"THREW Error: "xyz" is no number"#),
    (r#"return parseInt("2147483648", 10);"#, r#"THREW Error: For input string: "2147483648""#),
    (r#"return parseInt("99", 8);"#, r#"THREW Error: "99" is no number of radix 8"#),
    (r#"return parseInt("12px");"#, r#"THREW Error: "12px" is no number"#),
    (r#"return parseInt("KonaIn", 12);"#, r#"THREW Error: Invalid radix: [12]"#),
    (
        r#"return [parseLong("-0xFFFF"), parseLong("11001101100110", 2), parseLong("KonaLong", 27), parseLong("-54", 10)];"#,
        r#"[-65535,13158,218840926543,-54]"#,
    ),
    (
        r#"return [parseFloat("4.2"), parseDouble("4.2"), parseFloat("41EA62CC", 16), parseDouble("409B04B10CB295EA")];"#,
        r#"[4.2,4.2,29.29824,1729.1729]"#,
    ),
    (r#"return parseDouble("4,2");"#, r#"THREW Error: "" is no number"#),
    (
        r#"return [toFixed(0.345, 1), toFixed(0.345, 2), toFixed(1.005, 2), toFixed(-1.005, 2), toFixed(2.5, 0), toFixed(1e21, 2), toFixed(12345.6, -2), toFixed(1e-7, 3), toFixed(0.5, 0), toFixed(1.5e300, 300)];"#,
        r#"[0.3,0.35,1.01,-1.01,3,1e+21,12300,0,1,1.5e+300]"#,
    ),
    (r#"return [toInt(0.3), toInt(0.5), toInt(2.7), toInt(-1.5), toInt(-0.2)];"#, r#"[0,1,3,-2,0]"#),
    (
        r#"return [decodeToJson("{\"a\": 1}"), decodeToJson([123, 34, 97, 34, 58, 49, 125]), bytesToString([-28, 98], "ISO-8859-1"), bytesToString([0x48, "0x45"]), bytesToString([-61, 40]), stringToBytes("ä", "ISO-8859-1")];"#,
        r#"[{"a":1},{"a":1},"äb","HE","�(",[-28]]"#,
    ),
    (
        r#"return toFlatMap({"key1": "v", "key3": {"key4": 4, "key6": [{"key7": 7}, 56]}, "o": 1, "k": {"o": 2}}, ["key1"], false);"#,
        r#"{"key4":4,"key7":7,"key6.1":56,"o":2}"#,
    ),
    (r#"return toFlatMap({"a": {"b": 1, "c": [2, 3]}});"#, r#"{"a.b":1,"a.c.0":2,"a.c.1":3}"#),
    (r#"return toFlatMap({"a": {"b": 1}}, false);"#, r#"{"b":1}"#),
    (
        r#"var p = "[[[37.7810,-122.4210],[37.7890,-122.3900],[37.7700,-122.3800],[37.7600,-122.4000],[37.7700,-122.4250],[37.7810,-122.4210]],[[37.7730,-122.4050],[37.7700,-122.3950],[37.7670,-122.3980],[37.7690,-122.4100],[37.7730,-122.4050]]]"; return [isInsidePolygon(37.8000, -122.4300, p), isInsidePolygon(37.7725, -122.4010, p), isInsidePolygon(37.7700, -122.4030, p)];"#,
        r#"[false,true,false]"#,
    ),
    (
        r#"var p = "{\"latitude\":37.7749,\"longitude\":-122.4194,\"radius\":3000,\"radiusUnit\":\"METER\"}"; return [isInsideCircle(37.8044, -122.2712, p), isInsideCircle(37.7599, -122.4148, p)];"#,
        r#"[false,true]"#,
    ),
    (r#"return isInsideCircle(1, 2, "x");"#, r#"THREW no perimeter: expected value at line 1 column 1"#),
    (r#"return encodeURI("ж д a/path?x=1&y=2") + decodeURI("%D0%B6%20");"#, r#""%D0%B6%20%D0%B4%20a/path?x=1&y=2ж ""#),
    (
        r#"return ("" + new Date(0).toISOString()).substring(0, 4) + (2.5).toString() + msg.map.toString();"#,
        r#""19702.5{\"a\":1,\"b\":2}""#,
    ),
];

#[test]
fn classes_are_javas() {
    table(CLASSES);
}

const CLASSES: &[(&str, &str)] = &[
    (r#"return 'boo:and:foo'.split('o');"#, r#"["b","",":and:f"]"#),
    (r#"return 'boo:and:foo'.split('o', 5);"#, r#"["b","",":and:f","",""]"#),
    (
        r#"return [Integer.toString(0x1A, 16), Integer.toString(-255, 2), Long.toString(9223372036854775807, 16), Integer.toHexString(-1), Integer.toBinaryString(5), Integer.parseInt("42") + Integer.parseInt("ff", 16), Integer.valueOf("7"), Integer.MAX_VALUE];"#,
        r#"["1a","-11111111","7fffffffffffffff","ffffffff","101",297,7,2147483647]"#,
    ),
    (r#"return Integer.parseInt("4.2");"#, r#"THREW Error: For input string: "4.2""#),
    (
        r#"return [Double.parseDouble(" 4.25 "), Double.valueOf("1e3"), Double.isNaN(0.0 / 0.0), Float.parseFloat("4.2f"), Boolean.parseBoolean("TRUE"), Byte.toUnsignedInt(-1)];"#,
        r#"[4.25,1000,true,4.2,true,255]"#,
    ),
    (
        r#"return [String.format("%.8f", 99993219.156013e-002), String.format("%5d|%-5s|%05d|%x|%X|%,d|%+d|%%|%2$s", 42, "ab", -7, 255, 255, 1234567, 3), String.valueOf(1.5), String.join("-", ["a", "b"])];"#,
        r#"["999932.19156013","   42|ab   |-0007|ff|FF|1,234,567|+3|%|ab","1.5","a-b"]"#,
    ),
    (r#"return String.format("%.2f %.0f %s %.1f", 1.005, 2.5, null, 0.05);"#, r#""1.01 3 null 0.1""#),
    (r#"return String.format("%d", 1.5);"#, r#"THREW Error: String.format: no whole number for %d"#),
    (
        r#"return [Math.toRadians(180), Math.sqrt(4), Math.signum(-2), Math.floorMod(-1, 3), Math.rint(2.5), Math.PI > 3];"#,
        r#"[3.141592653589793,2,-1,2,2,true]"#,
    ),
    (
        r#"var a = new int[3]; a[0] = 1; return [a, isArray(a), isList(a), isArray([1]), isList([1]), new String[2], new byte[]{1, 2}, new boolean[1]];"#,
        r#"[[1,0,0],true,false,false,true,[null,null],[1,2],[false]]"#,
    ),
    (r#"var a = new int[1]; a[1] = 4; return a;"#, r#"THREW TypeError: object is not extensible"#),
    (r#"var x = 5; do { x++; } until (x > 7); until (x == 0) { x--; } return x;"#, r#"0"#),
    (r#"def foo(a) { return a; } return foo(1);"#, r#"1"#),
    (r#"var foo = msg.foo; return foo == null;"#, r#"true"#),
    (r#"x = 5; return x;"#, r#"5"#),
];

#[test]
fn javascript_keeps_its_own() {
    let body =
        "return 'a.b.c'.replace('.', '-') + 'a.b'.split('.').length + parseInt('12px') + new Date(0).getMonth() + [].size;";
    check(Form::Text, Language::Js, body, Ok(Answer::Text("a-b.c2120undefined".to_owned())));
}

#[test]
fn what_is_translated_is_there() {
    let mut engine = engine();
    let mut is = |body: &str| {
        let subject = Subject { data: &Value::Null, metadata: &BTreeMap::new(), kind: "" };
        engine.run(&script(Form::Filter, Language::Js, body), subject)
    };
    for function in java::FUNCTIONS.split_ascii_whitespace() {
        assert_eq!(is(&format!("return typeof {function} === 'function';")), Ok(Answer::Truth(true)), "{function}");
    }
    for (class, members) in java::CLASSES {
        for member in members.split_ascii_whitespace() {
            assert_eq!(is(&format!("return ${class}.{member} !== undefined;")), Ok(Answer::Truth(true)), "{class}.{member}");
        }
    }
    for method in java::METHODS.split_ascii_whitespace() {
        let has = format!("return [{{}}, [], '', 1].some(one => typeof one.${method} === 'function');");
        assert_eq!(is(&has), Ok(Answer::Truth(true)), "{method}");
    }
}

#[test]
fn helpers_have_the_limits_of_scripts() {
    let mut engine = engine();
    let long = "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!'";
    for body in [
        "return padStart('a', 2000000000, 'x') == '';".to_owned(),
        "return padEnd('a', 100000000, 'x') == '';".to_owned(),
        "return String.format('%2000000000d', 1) == '';".to_owned(),
        "return String.format('%.2000000000f', 1.5) == '';".to_owned(),
        "return String.format('%.100000000f', 1.5) == '';".to_owned(),
        "return new int[2000000000] == null;".to_owned(),
        "return parseLong(padStart('1', 4000000, '1')) == 1;".to_owned(),
        "return isInsidePolygon(1, 2, padStart('1', 2000000, '['));".to_owned(),
        format!("return {long}.split('(a+)+$').length > 5;"),
        format!("return {long}.replaceAll('(a+)+$', 'b') == '';"),
    ] {
        let script = script(Form::Filter, Language::Tbel, &body);
        let answer = engine.run(&script, Subject { data: &Value::Null, metadata: &BTreeMap::new(), kind: "" });
        assert!(
            matches!(answer, Err(ScriptFailure::OutOfMemory | ScriptFailure::TooLong | ScriptFailure::Threw(_))),
            "{body}: {answer:?}"
        );
        let good = Script::parse(Form::Filter, Language::Tbel, "return toFixed(1.5, 2000000000) == 1.5;").expect("it parses");
        let answer = engine.run(&good.into(), Subject { data: &Value::Null, metadata: &BTreeMap::new(), kind: "" });
        assert_eq!(answer, Ok(Answer::Truth(true)), "the next one runs, after {body}");
    }
}
