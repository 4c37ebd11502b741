"""The sandbox against Debitura's official client, an independent check of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from debitura_debt_collection import ApiClient, CasesApi, Configuration, MeApi
from debitura_debt_collection.exceptions import (
    ApiException,
    BadRequestException,
    NotFoundException,
    ServiceException,
    UnauthorizedException,
)
from debitura_debt_collection.models import (
    debitura_web_external_api_contracts_v1_cases_business_error_response_api_dto as business_error_module,
)
from debitura_debt_collection.models import (
    debitura_web_external_api_contracts_v1_cases_debtor_dto as debtor_module,
)
from debitura_debt_collection.models import (
    debitura_web_external_api_contracts_v1_cases_invoice_dto as invoice_module,
)
from debitura_debt_collection.models import (
    debitura_web_external_api_contracts_v1_cases_requests_create_collection_case_request_api_view_model as request_module,  # noqa: E501 - the generator's name
)

from tests.support.sandbox_partner import Partner
from worker.sandbox.rules import field_errors

Invoice = invoice_module.DebituraWebExternalApiContractsV1CasesInvoiceDto
CaseRequest = request_module.DebituraWebExternalApiContractsV1CasesRequestsCreateCollectionCaseRequestApiViewModel
Debtor = debtor_module.DebituraWebExternalApiContractsV1CasesDebtorDto
BusinessErrors = business_error_module.DebituraWebExternalApiContractsV1CasesBusinessErrorResponseApiDTO

BODY_PARAMETER = request_module.__name__.rpartition(".")[2]

Official = Callable[..., CasesApi]


@pytest.fixture
def client_of(partner: Partner) -> Iterator[Callable[..., ApiClient]]:
    """Makes the official client for a tenant, or for a token that is given."""
    clients: list[ApiClient] = []

    def make(tenant: str = "acme", token: str | None = None) -> ApiClient:
        configuration = Configuration(host=partner.url, access_token=token or partner.token(tenant))
        client = ApiClient(configuration)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.rest_client.pool_manager.clear()


@pytest.fixture
def cases_of(client_of: Callable[..., ApiClient]) -> Official:
    return lambda tenant="acme", token=None: CasesApi(client_of(tenant, token))


def test_given_a_valid_case_when_the_official_client_creates_it_then_its_model_holds_the_answer(
    cases_of: Official,
) -> None:
    case = Partner.case(creditorReference="INV-1", isTest=True, assignedUserEmail="owner@acme.example")

    created = create(cases_of(), case)

    assert created.creditor_reference == "INV-1"
    assert len(created.reference) == 8
    assert created.gross_amount == created.remainder == 1250.5
    assert created.currency == "DKK"
    assert created.debtor.name == case["debtor"]["name"]
    assert created.is_test_case is True
    assert created.due_date.isoformat() == "2026-02-09T00:00:00+00:00"
    assert created.assigned_user.email == "owner@acme.example"


def test_given_a_created_case_when_looked_up_in_every_way_then_it_is_the_same(cases_of: Official) -> None:
    api = cases_of()
    created = create(api, Partner.case(creditorReference="2026/INV 1"))

    assert api.cases_id_get(created.id) == created
    assert api.cases_by_creditor_reference_creditor_reference_get("2026/INV 1") == created
    assert api.cases_case_reference_case_reference_get(created.reference) == created


def test_given_another_tenant_when_it_looks_the_case_up_then_there_is_none(cases_of: Official) -> None:
    created = create(cases_of(), Partner.case(creditorReference="INV-1"))
    other = cases_of("other")

    with pytest.raises(NotFoundException) as by_id:
        other.cases_id_get(created.id)
    with pytest.raises(NotFoundException):
        other.cases_by_creditor_reference_creditor_reference_get("INV-1")

    assert by_id.value.data.error == "NotFound"


def test_given_a_used_key_when_the_client_repeats_the_request_then_the_same_case_comes_back(
    cases_of: Official, partner: Partner
) -> None:
    first = create(cases_of(), Partner.case(), key="key-1")
    again = create(cases_of(), Partner.case(), key="key-1")

    assert again == first
    assert partner.stats()["cases"] == 1


def test_given_a_field_error_when_created_then_the_client_raises_bad_request(cases_of: Official) -> None:
    debtor = Partner.case()["debtor"] | {"email": "nobody"}

    with pytest.raises(BadRequestException) as refused:
        create(cases_of(), Partner.case(debtor=debtor))

    assert json.loads(refused.value.body) == {"debtor.email": ["Invalid email format"]}


def test_given_an_unsigned_contract_when_created_then_the_clients_model_holds_the_business_error(
    cases_of: Official,
) -> None:
    with pytest.raises(ApiException) as refused:
        create(cases_of("unfinished-1"), Partner.case(returnUrl="https://portal.example/back"))

    assert refused.value.status == 422
    body = BusinessErrors.from_json(refused.value.body)
    assert body is not None
    assert [error.type for error in body.business_errors] == ["MissingDebtCollectionContract"]
    assert body.business_errors[0].solution_url.startswith("https://")
    assert "returnUrl=https%3A%2F%2Fportal.example%2Fback" in body.signing_handoff.combined_signing_url


def test_given_pending_contracts_are_allowed_when_created_then_the_case_waits_for_the_signature(
    cases_of: Official,
) -> None:
    created = create(cases_of("unfinished-1"), Partner.case(allowPendingContracts=True))

    assert created.lifecycle == "PendingContractSigning"
    assert created.signing_handoff.combined_signing_url == created.solution_url


def test_given_an_unknown_token_when_created_then_the_client_raises_unauthorized(cases_of: Official) -> None:
    with pytest.raises(UnauthorizedException):
        create(cases_of(token="forged"), Partner.case())


def test_given_trouble_when_created_then_the_client_raises_a_service_error(cases_of: Official) -> None:
    with pytest.raises(ServiceException):
        create(cases_of(), Partner.case(tag="sandbox:status=500"))


def test_given_a_token_when_asking_who_it_is_then_the_creditor_answers(
    client_of: Callable[..., ApiClient], partner: Partner
) -> None:
    me = MeApi(client_of()).me_get()

    assert me.company_name == "acme"
    assert me.id == partner.mint("acme").json()["creditorId"]


def test_given_the_example_cases_when_they_are_valid_then_the_clients_models_read_them(
    examples: list[dict[str, Any]],
) -> None:
    valid = [line["case"] for line in examples if not field_errors(line["case"])]
    flat = [case for case in valid if "claims" not in case]

    assert len(flat) >= 30
    for case in flat:
        read = CaseRequest.from_dict(case)
        assert read.debtor.name == case["debtor"]["name"]
    for case in valid:
        # The published description does not know `claims`; the debtor has the same shape in both bodies.
        assert Debtor.from_dict(case["debtor"]) is not None


def create(api: CasesApi, case: dict[str, Any], key: str | None = None) -> Any:
    """The client's `POST /cases`; the generator named the parameter after the whole path of the model."""
    return api.cases_post(idempotency_key=key, **{BODY_PARAMETER: CaseRequest.from_dict(case)})
