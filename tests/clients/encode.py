"""Writes payloads with the official libraries of protobuf and FlatBuffers, as hex on stdout.

usage: encode.py sensor|rpc_request|rpc_response|attributes_request JSON
       encode.py flat JSON    a list of {"ts", "values": {key: value}}; values that are objects or lists become JSON
"""

import json
import sys

import flatbuffers
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto


def field(message, number, name, kind, label=FIELD.LABEL_OPTIONAL, type_name=None):
    message.field.add(name=name, number=number, type=kind, label=label, type_name=type_name)


def described():
    file = descriptor_pb2.FileDescriptorProto(name="payloads.proto", package="plant", syntax="proto3")
    mode = file.enum_type.add(name="Mode")
    mode.value.add(name="OFF", number=0)
    mode.value.add(name="ON", number=1)
    place = file.message_type.add(name="Place")
    field(place, 1, "floor", FIELD.TYPE_INT64)
    field(place, 2, "room_name", FIELD.TYPE_STRING)
    sensor = file.message_type.add(name="sensor")
    field(sensor, 1, "temperature", FIELD.TYPE_DOUBLE)
    field(sensor, 2, "battery_level", FIELD.TYPE_FLOAT)
    field(sensor, 3, "serial", FIELD.TYPE_STRING)
    field(sensor, 4, "total", FIELD.TYPE_UINT64)
    field(sensor, 5, "mode", FIELD.TYPE_ENUM, type_name=".plant.Mode")
    field(sensor, 6, "place", FIELD.TYPE_MESSAGE, type_name=".plant.Place")
    field(sensor, 7, "samples", FIELD.TYPE_SINT32, FIELD.LABEL_REPEATED)
    field(sensor, 8, "counters", FIELD.TYPE_MESSAGE, FIELD.LABEL_REPEATED, ".plant.sensor.CountersEntry")
    entry = sensor.nested_type.add(name="CountersEntry")
    entry.options.map_entry = True
    field(entry, 1, "key", FIELD.TYPE_STRING)
    field(entry, 2, "value", FIELD.TYPE_INT64)
    request = file.message_type.add(name="rpc_request")
    field(request, 1, "method", FIELD.TYPE_STRING)
    field(request, 2, "requestId", FIELD.TYPE_INT32)
    field(request, 3, "params", FIELD.TYPE_STRING)
    response = file.message_type.add(name="rpc_response")
    field(response, 1, "payload", FIELD.TYPE_STRING)
    asked = file.message_type.add(name="attributes_request")
    field(asked, 1, "clientKeys", FIELD.TYPE_STRING)
    field(asked, 2, "sharedKeys", FIELD.TYPE_STRING)
    return file


def protobuf(name, value):
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described()) if hasattr(pool, "Add") else pool.AddSerializedFile(described().SerializeToString())
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("plant." + name))
    return json_format.ParseDict(value, kind()).SerializeToString()


def reading(builder, key, value):
    """A Reading of schemas/fbs/payload.fbs: its five fields by their slots."""
    kind, text = 3, value if isinstance(value, str) else ""
    if isinstance(value, bool):
        kind = 0
    elif isinstance(value, int):
        kind = 1
    elif isinstance(value, float):
        kind = 2
    elif isinstance(value, (dict, list)):
        kind, text = 4, json.dumps(value)
    key, text = builder.CreateString(key), builder.CreateString(text)
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, key, 0)
    builder.PrependUint8Slot(1, kind, 0)
    builder.PrependInt64Slot(2, int(value) if kind < 2 else 0, 0)
    builder.PrependFloat64Slot(3, value if kind == 2 else 0.0, 0.0)
    if kind > 2:
        builder.PrependUOffsetTRelativeSlot(4, text, 0)
    return builder.EndObject()


def vector(builder, tables):
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return builder.EndVector()


def flat(entries):
    builder = flatbuffers.Builder(0)
    tables = []
    for entry in entries:
        readings = vector(builder, [reading(builder, key, value) for key, value in entry["values"].items()])
        builder.StartObject(2)
        builder.PrependInt64Slot(0, entry.get("ts", 0), 0)
        builder.PrependUOffsetTRelativeSlot(1, readings, 0)
        tables.append(builder.EndObject())
    tables = vector(builder, tables)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, tables, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TGP1")
    return bytes(builder.Output())


def main():
    kind, value = sys.argv[1], json.loads(sys.argv[2])
    print((flat(value) if kind == "flat" else protobuf(kind, value)).hex())


main()
