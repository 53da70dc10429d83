"""Real clients that offer an upgrade to HTTP/2 with their requests, as they do over `http://` without being asked."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from support.debian_packages import find_or_install
from support.fakes.chat import Script
from support.scripts.chat import Answer
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

TIMEOUT_S = 120
JAVA = """
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Offers {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        for (int i = 1; i < arguments.length; i++) {
            byte[] body = arguments[i].getBytes("UTF-8");
            var bodies = new HttpRequest.BodyPublisher[] {
                HttpRequest.BodyPublishers.ofByteArray(body),
                HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body)),
            };
            for (var publisher : bodies) {
                var request = HttpRequest.newBuilder(URI.create(arguments[0]))
                    .header("Content-Type", "application/json").POST(publisher).build();
                var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                boolean isWhole = answer.body().contains("\\"status\\":\\"completed\\"");
                System.out.println(answer.statusCode() + " " + answer.version() + " " + isWhole);
            }
        }
    }
}
"""


@pytest.fixture
def bodies(scripted: Script) -> tuple[str, str]:
    """Of a whole answer and of a streamed one."""
    body = {"model": scripted.choosing(lambda _: Answer("Said.")).model, "input": "Say it."}
    return json.dumps(body), json.dumps({**body, "stream": True})


def test_curl_offers_http_2_and_is_answered_twice_on_one_connection(
    landline: RunningServer, bodies: tuple[str, str]
) -> None:
    curl = find_or_install(lambda: shutil.which("curl"), "curl")
    assert curl is not None
    url = f"{landline.base_url}/responses"
    report = ["-w", "\n%{http_code} %{num_connects}\n", "-H", "content-type: application/json"]
    first = [curl, "-sS", "--http2", *report, "-d", bodies[0], url]
    second = ["--next", "-sS", "--http2", *report, "-H", "transfer-encoding: chunked", "-d", bodies[1], url]
    output = subprocess.run([*first, *second], capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout
    assert "\n200 1\n" in output
    assert output.endswith("data: [DONE]\n\n\n200 0\n")


def test_javas_client_with_its_defaults_is_answered(
    landline: RunningServer, bodies: tuple[str, str], tmp_path: Path
) -> None:
    java, compiler = shutil.which("java"), shutil.which("javac")
    if java is None or compiler is None:
        pytest.skip("no JDK here; on Debian and Ubuntu: apt-get install -y default-jdk-headless")
    source = tmp_path / "Offers.java"
    source.write_text(JAVA)
    command = [java, str(source), f"{landline.base_url}/responses", *bodies]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert ran.stdout.splitlines() == ["200 HTTP_1_1 true"] * 4, ran.stderr
