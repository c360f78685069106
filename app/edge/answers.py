"""What the edge adds to every answer, and what a refusal becomes: the same for both mounts. Pure."""

from app.edge.answer_head import AnswerHead
from app.edge.headers import Headers, field_lines, fields_of
from app.edge.middleware.cors import cors_headers
from app.edge.record import Answer, Record
from app.edge.routes import ErrorShape
from app.infra.wire import openai
from app.infra.wire.problems import ProblemAnswer, problem_of
from app.kernel.errors import Fault


def added_headers(record: Record) -> Headers:
    """Make the fields every answer carries, whoever gave it; of the same names, only `Vary` may stand twice."""
    added = [(b"x-request-id", record.id.encode()), *fields_of(record.limit_lines)]
    return added + cors_headers(record) if record.varies_by_origin else added


def added_lines(record: Record, behind: bytes = b"") -> bytes:
    """Write the same as lines, `behind` others."""
    lines = b"%bx-request-id: %b\r\n%b" % (behind, record.id.encode(), record.limit_lines)
    return lines + field_lines(cors_headers(record)) if record.varies_by_origin else lines


def completed_lines(record: Record, head: AnswerHead) -> bytes:
    """Write the fields of an upstream's answer with what the edge adds, in place of whatever had these names."""
    lines = head.returned_unlimited_lines if record.limit_lines else head.returned_lines
    return added_lines(record, lines)


def completed(record: Record, headers: Headers) -> Headers:
    """Add what the edge adds to an answer's fields, in place of whatever had these names."""
    added = added_headers(record)
    names = {name for name, _ in added if name != b"vary"}
    return [(name, value) for name, value in headers if name.lower() not in names] + added


def refusal(record: Record, fault: Fault) -> Answer:
    """Make an answer of a fault, and note in the record why."""
    note_refusal(record, fault)
    problem = document_of(record, fault)
    return Answer(
        problem.status, [(name.encode(), value.encode()) for name, value in problem.headers.items()], problem.body
    )


def document_of(record: Record, fault: Fault) -> ProblemAnswer:
    """Say what is wrong in the words of the row's clients."""
    if record.route is not None and record.route.errors is ErrorShape.OPENAI:
        return openai.refusal_of(fault)
    return problem_of(fault, instance=record.path.decode("latin-1"), request_id=record.id)


def note_refusal(record: Record, fault: Fault) -> None:
    record.reason = fault.reason
    record.evidence = {**record.evidence, **fault.evidence}
